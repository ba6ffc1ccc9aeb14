import { types } from 'node:util';
import { lasting, stable } from '../buffers';
import { FaissVisionError } from '../error';
import { checkSize, invalid } from './check';
import type { Pixels, RawImage } from './input';

export function isRawImage(input: unknown): input is RawImage {
  return typeof input === 'object' && input !== null && 'data' in input;
}

/**
 * Checks raw pixels and fills in the defaults. The pixels stay where they are, and a large buffer can no
 * longer be transferred; a shared or resizable one is copied, because it could change while it is read.
 *
 * @throws ERR_INVALID_ARGUMENT for a wrong type or shape, ERR_IMAGE_TOO_LARGE above 2^26 pixels
 */
export function rawPixels(input: RawImage, name = 'image'): Pixels {
  // Each property is read once: a getter could answer differently the second time.
  const { data, width, height, channels, order = 'rgb', stride: given } = input;
  if (!types.isUint8Array(data) && !types.isUint8ClampedArray(data)) {
    throw invalid(`${name}.data`, 'a Uint8Array, Uint8ClampedArray or Buffer', data);
  }
  if (!isCount(width)) throw invalid(`${name}.width`, 'a whole number of at least 1', width);
  if (!isCount(height)) throw invalid(`${name}.height`, 'a whole number of at least 1', height);
  if (channels !== 1 && channels !== 3 && channels !== 4) throw invalid(`${name}.channels`, '1, 3 or 4', channels);
  if (order !== 'rgb' && order !== 'bgr') throw invalid(`${name}.order`, "'rgb' or 'bgr'", order);
  checkSize(name, 'the picture', width, height);

  const row = width * channels;
  const stride = given ?? row;
  if (!isCount(stride) || stride < row) {
    throw invalid(`${name}.stride`, `a whole number of at least width * channels = ${row}`, stride);
  }
  const length = data.byteLength;
  // Without a stride the length is known exactly, and another one means that the shape is not the data's.
  const needed = stride * (height - 1) + row;
  if (given === undefined ? length !== needed : length < needed) {
    const [size, shape] =
      given === undefined
        ? [needed, 'width * height * channels']
        : [`at least ${needed}`, 'stride * (height - 1) + width * channels'];
    const message = `\`${name}.data\` must have ${size} bytes (${shape}), got ${length}`;
    throw new FaissVisionError('ERR_INVALID_ARGUMENT', length > 0 ? message : `${message}: empty or transferred away`);
  }
  return { data: unmoving(data), width, height, channels, order, stride };
}

/** The same memory as a Uint8Array, or a copy where that memory could shrink or change under a reader. */
function unmoving(given: Uint8Array | Uint8ClampedArray): Uint8Array {
  const data = lasting(given);
  const buffer = data.buffer as ArrayBufferLike & { resizable?: boolean };
  const view = new Uint8Array(buffer, data.byteOffset, data.byteLength);
  return types.isSharedArrayBuffer(buffer) || buffer.resizable ? view.slice() : stable(view);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}
