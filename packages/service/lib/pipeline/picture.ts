import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import type { ImageInput, RawImage } from 'faiss-vision';
import { FaissVisionError } from '../error.js';

/** A frame's pixels and, where it came as one, its JPEG: then the pixels are free again once the frame was looked at. */
export interface Picture {
  pixels: RawImage;
  jpeg?: Uint8Array;
}

/** @throws ERR_IMAGE_DECODE */
export async function decodeFrame(image: ImageInput): Promise<Picture> {
  if (typeof image === 'object' && 'data' in image) return { pixels: image as RawImage };
  const bytes = image instanceof Uint8Array ? image : await readFile(image as string | URL);
  try {
    const { data, info } = await sharp(bytes, { autoOrient: true }).toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
    const pixels: RawImage = { data, width: info.width, height: info.height, channels: info.channels as 1 | 3 | 4 };
    return isJpeg(bytes) ? { pixels, jpeg: bytes } : { pixels };
  } catch (cause) {
    throw new FaissVisionError('ERR_IMAGE_DECODE', `a frame cannot be decoded: ${(cause as Error).message.split('\n')[0]}`, { cause });
  }
}

/** @param quality from 1 to 100 */
export async function toJpeg({ data, width, height, channels, order, stride }: RawImage, quality = 80): Promise<Buffer> {
  if (stride !== undefined && stride !== width * channels) throw new FaissVisionError('ERR_UNSUPPORTED', 'pixels with gaps between their rows');
  let picture = sharp(data, { raw: { width, height, channels } });
  if (order === 'bgr' && channels >= 3) picture = picture.recomb([[0, 0, 1], [0, 1, 0], [1, 0, 0]]);
  return picture.jpeg({ quality }).toBuffer();
}

function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xd8;
}
