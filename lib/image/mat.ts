import { checkSize, invalid } from './check';
import type { RawImage } from './input';

/** What of an OpenCV matrix (`Mat` of `@u4/opencv4nodejs`, an optional peer) is needed to read it as a picture. */
export interface MatLike {
  readonly rows: number;
  readonly cols: number;
  /** OpenCV's type: the numbers' kind in its lowest three bits, channels - 1 above them. */
  readonly type: number;
  copyTo(destination: MatLike): unknown;
}

/** A matrix over memory that is JavaScript's own, which OpenCV neither copies nor frees. */
type MatOver = new (rows: number, cols: number, type: number, data: Buffer) => MatLike;

export function isMat(input: unknown): input is MatLike {
  if (typeof input !== 'object' || input === null) return false;
  const { rows, cols, type, copyTo } = input as MatLike;
  return typeof rows === 'number' && typeof cols === 'number' && typeof type === 'number' && typeof copyTo === 'function';
}

const KINDS = ['8U', '8S', '16U', '16S', '32S', '32F', '64F', '16F'];

/**
 * A matrix of bytes (CV_8UC1, CV_8UC3, CV_8UC4) as raw pixels in OpenCV's order, BGR. The package shows its memory to nobody, so
 * it is copied, once: into a matrix over memory of our own, which heeds any step, as that of a part of a larger matrix. (Its
 * `getData` copies twice, refuses such parts, and reads the wrong bytes where rows do not touch.) What OpenCV does with the
 * matrix afterwards changes nothing here. Whoever has a matrix over a Buffer saves the copy with raw pixels of that Buffer.
 * @throws ERR_INVALID_ARGUMENT for any other type, and for an empty matrix
 */
export function matPixels(mat: MatLike, name: string): RawImage {
  const { pixels, over } = destination(mat, name);
  mat.copyTo(over);
  return pixels;
}

/** The same on OpenCV's threads. */
export async function matPixelsAsync(mat: MatLike & { copyToAsync(destination: MatLike): Promise<unknown> }, name: string): Promise<RawImage> {
  const { pixels, over } = destination(mat, name);
  await mat.copyToAsync(over);
  return pixels;
}

/** Pixels to be filled, and the matrix over their memory. */
function destination(mat: MatLike, name: string): { pixels: RawImage; over: MatLike } {
  const { rows, cols, type } = mat;
  const channels = (type >> 3) + 1;
  if ((type & 7) !== 0 || (channels !== 1 && channels !== 3 && channels !== 4)) {
    throw invalid(name, 'a Mat of type CV_8UC1, CV_8UC3 or CV_8UC4', `CV_${KINDS[type & 7]}C${channels}`);
  }
  if (rows < 1 || cols < 1) throw invalid(name, 'a Mat with rows and columns', `${rows} x ${cols}`);
  checkSize(name, 'the Mat', cols, rows);
  const data = Buffer.allocUnsafeSlow(rows * cols * channels);
  const Mat = mat.constructor as MatOver;
  return { pixels: { data, width: cols, height: rows, channels, order: 'bgr' }, over: new Mat(rows, cols, type, data) };
}
