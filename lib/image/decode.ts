import { readFile, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { types } from 'node:util';
import type { Metadata } from 'sharp';
import { lasting, ownBuffer } from '../buffers';
import { FaissVisionError } from '../error';
import { checkSize, invalid, maxPixels as mostPixels } from './check';
import type { ImageInput, Pixels } from './input';
import { isSrgb } from './icc';
import { jpegHeader, plainJpeg, type JpegHeader } from './jpeg';
import { isMat, matPixels } from './mat';
import { isRawImage, rawPixels } from './raw';

/** An encoded picture and how to name it in a message. */
interface Encoded {
  bytes: Buffer;
  what: string;
}

/** How a picture is to be decoded. */
export interface Decoding {
  maxPixels?: number | undefined;
  shrink?: number;
  keepJpeg?: boolean;
  turn?: () => Promise<void>;
}

/** Formats whose decoders give a smaller picture in less time. */
const SHRINKING: ReadonlySet<string | undefined> = new Set(['jpeg', 'webp']);

/** Below 2^22 pixels, a side of 2048, decoding takes too little time to be worth a coarser picture. */
function isLarge({ width, height }: JpegHeader): boolean {
  return width * height >= 2 ** 22;
}

type Header = JpegHeader & Partial<Pick<Metadata, 'format' | 'autoOrient'>>;

/**
 * A picture's pixels: 8-bit sRGB, three channels or, where the picture has an opacity, four; turned
 * upright as its EXIF orientation says. Of an animation the first frame. Raw pixels pass through uncopied.
 *
 * @param name what messages call this argument
 * @param how.maxPixels most pixels of an encoded picture, where that is less than 2^26
 * @param how.shrink a large JPEG or WebP file may come out at 1 / shrink of its width and height, which their decoders do in less
 *   time; `shrunk` says by how much it did
 * @param how.keepJpeg a JPEG file that a GPU can decode stays one: `jpeg` are then pixels yet to be decoded
 * @param how.turn waited for before a file is read or pixels are made; raw pixels do not wait
 * @throws ERR_INVALID_ARGUMENT for what is no image input, ERR_IMAGE_NOT_FOUND for a path that names no
 *   readable file, ERR_IMAGE_EMPTY for one of no bytes, ERR_IMAGE_TOO_LARGE above 2^26 pixels,
 *   ERR_IMAGE_DECODE for anything that is not a whole picture
 */
export async function decode(input: ImageInput, name = 'image', how: Decoding = {}): Promise<Pixels> {
  if (types.isUint8Array(input)) {
    // A copy: the caller may write to these bytes, or transfer them away, while another thread decodes them.
    const bytes = Buffer.from(input);
    await how.turn?.();
    return decodeBytes({ bytes, what: `encoded bytes (${bytes.byteLength} bytes)` }, name, how);
  }
  if (typeof input === 'string' || input instanceof URL) {
    const path = typeof input === 'string' ? input : filePath(input, name);
    await how.turn?.();
    return decodeBytes(await readImage(path, name), name, how);
  }
  if (isMat(input)) return rawPixels(matPixels(input, name), name);
  if (isRawImage(input)) return rawPixels(input, name);
  throw invalid(name, 'a path, a file: URL, a Uint8Array of encoded bytes, { data, width, height, channels } or an OpenCV Mat', input);
}

function filePath(url: URL, name: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    throw invalid(name, 'a file: URL', url.href);
  }
}

// Read here and not by sharp: its file names have an option syntax, so that `a[1].jpg` would not be found.
async function readImage(path: string, name: string): Promise<Encoded> {
  try {
    // Asked first, because reading a pipe or a device might never end.
    if (!(await stat(path)).isFile()) {
      throw new FaissVisionError('ERR_IMAGE_NOT_FOUND', `${name}: "${path}" is a folder or a device, expected a file`);
    }
    const bytes = await readFile(path);
    return { bytes, what: `"${path}" (${bytes.byteLength} bytes)` };
  } catch (error) {
    if (error instanceof FaissVisionError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : message;
    throw new FaissVisionError('ERR_IMAGE_NOT_FOUND', `${name}: "${path}" cannot be read: ${why}`, { cause: error });
  }
}

async function decodeBytes(encoded: Encoded, name: string, how: Decoding): Promise<Pixels> {
  const { bytes, what } = encoded;
  const { maxPixels, shrink = 1 } = how;
  if (bytes.byteLength === 0) {
    throw new FaissVisionError('ERR_IMAGE_EMPTY', `${name}: ${what} is empty, expected a JPEG, PNG or WebP file`);
  }
  const plain = how.keepJpeg ? plainJpeg(bytes) : undefined;
  if (plain !== undefined && !(shrink > 1 && isLarge(plain))) {
    const { width, height } = plain;
    checkSize(name, what, width, height, maxPixels);
    const jpeg = () => decodeBytes(encoded, name, { ...how, keepJpeg: false });
    return { data: bytes, width, height, channels: 3, order: 'rgb', stride: 3 * width, own: ownBuffer(bytes), jpeg };
  }
  // Loaded with the first picture, so that importing this package loads no native code.
  const sharp = require('sharp') as typeof import('sharp');
  try {
    // The default of failing at a decoder's warning stays: without it half a photo counts as a photo.
    const header = await readHeader(bytes, shrink);
    checkSize(name, what, header.width, header.height, maxPixels);
    // An SVG's text is drawn with the machine's fonts, and crashes where none are set up (sharp's issue 4409).
    if (header.format === 'svg') throw new Error('a drawing (SVG), not a picture');
    // The limit again, in case the decoder finds another size than the header's reader.
    const options = { autoOrient: true, ignoreIcc: isSrgb(header.icc), limitInputPixels: maxPixels ?? mostPixels };
    const picture = sharp(bytes, options);
    const upright = shrink > 1 && SHRINKING.has(header.format) && isLarge(header) ? header.autoOrient : undefined;
    const smaller = (size: number) => Math.max(1, Math.round(size / shrink));
    if (upright) picture.resize(smaller(upright.width), smaller(upright.height), { fit: 'fill' });
    const { data: made, info } = await picture.raw().toBuffer({ resolveWithObject: true });
    const data = lasting(made);
    const { width, height } = info;
    const channels = info.channels as 3 | 4; // sRGB, with or without opacity
    const pixels: Pixels = { data, width, height, channels, order: 'rgb', stride: width * channels, own: ownBuffer(data) };
    return upright ? { ...pixels, shrunk: { x: upright.width / width, y: upright.height / height } } : pixels;
  } catch (error) {
    if (error instanceof FaissVisionError) throw error;
    const [why] = (error as Error).message.split('\n');
    throw new FaissVisionError(
      'ERR_IMAGE_DECODE',
      `${name}: ${what} cannot be decoded, expected a whole JPEG, PNG or WebP file: ${why}`,
      { cause: error },
    );
  }
}

/** Of a JPEG file that is not to be shrunk without sharp, which takes longer and leaves more behind. */
async function readHeader(bytes: Buffer, shrink: number): Promise<Header> {
  const jpeg = jpegHeader(bytes);
  if (jpeg && !(shrink > 1 && isLarge(jpeg))) return jpeg;
  const sharp = require('sharp') as typeof import('sharp');
  return sharp(bytes, { limitInputPixels: false }).metadata();
}
