import { invalid } from './check';
import type { RawImage } from './input';

/** What of an OpenCV matrix (`Mat` of `@u4/opencv4nodejs`, an optional peer) is needed to read it as a picture. */
export interface MatLike {
  readonly rows: number;
  readonly cols: number;
  /** OpenCV's type: the numbers' kind in its lowest three bits, channels - 1 above them. */
  readonly type: number;
  getData(): Buffer;
}

export function isMat(input: unknown): input is MatLike {
  if (typeof input !== 'object' || input === null) return false;
  const { rows, cols, type, getData } = input as MatLike;
  return typeof rows === 'number' && typeof cols === 'number' && typeof type === 'number' && typeof getData === 'function';
}

const KINDS = ['8U', '8S', '16U', '16S', '32S', '32F', '64F', '16F'];

/**
 * A matrix of bytes (CV_8UC1, CV_8UC3, CV_8UC4) as raw pixels in OpenCV's order, BGR. `getData` is the only way that the package
 * gives to its memory: it copies the rows, whatever the matrix's step, and what OpenCV does with it afterwards changes nothing here.
 * @throws ERR_INVALID_ARGUMENT for any other type, and for an empty matrix
 */
export function matPixels(mat: MatLike, name: string): RawImage {
  const { rows, cols, type } = mat;
  const channels = (type >> 3) + 1;
  if ((type & 7) !== 0 || (channels !== 1 && channels !== 3 && channels !== 4)) {
    throw invalid(name, 'a Mat of type CV_8UC1, CV_8UC3 or CV_8UC4', `CV_${KINDS[type & 7]}C${channels}`);
  }
  if (rows < 1 || cols < 1) throw invalid(name, 'a Mat with rows and columns', `${rows} x ${cols}`);
  return { data: mat.getData(), width: cols, height: rows, channels, order: 'bgr' };
}
