import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { Device } from '../device';
import type { Face, FacesOptions } from '../face';
import type { ImageInput } from '../image';
import { invalid } from '../image/check';
import type { ModelMark } from './types';

/** What a gallery asks of a recogniser: a `FaceRecognizer`, or these few fields where features come from elsewhere. */
export interface GalleryRecognizer {
  readonly dimension: number;
  readonly metric: 'l2' | 'cosine';
  /** The score at which two faces count as one person's: a Euclidean distance above it does not, or a cosine similarity below it. */
  readonly threshold: number;
  /** What features are to be compared with; another name is another model. */
  readonly model: string;
  /** Which version of it. Default: the beginning of the SHA-256 of the file `weights`, or '' without one. */
  readonly version?: string;
  readonly weights?: string;
  /** Most pixels of an encoded picture; one of more is refused by its header. Default 2^26. */
  readonly maxPixels?: number | undefined;
  /** Where it looks at photos: for a GPU more of them are decoded at once. Default `'cpu'`. */
  readonly device?: Device;
  /** Without, the gallery takes features only. */
  faces?(image: ImageInput, options?: FacesOptions): Promise<Face[]>;
}

export async function markOf(recognizer: GalleryRecognizer): Promise<ModelMark> {
  if (typeof recognizer !== 'object' || recognizer === null)
    throw invalid('recognizer', 'a FaceRecognizer, or its dimension, metric, threshold and model', recognizer);
  const { dimension, metric, threshold, model, version, weights, faces } = recognizer;
  if (!Number.isInteger(dimension) || dimension < 1 || dimension > 2 ** 16)
    throw invalid('recognizer.dimension', 'a whole number from 1 to 65536', dimension);
  if (metric !== 'l2' && metric !== 'cosine') throw invalid('recognizer.metric', "'l2' or 'cosine'", metric);
  if (typeof threshold !== 'number' || !Number.isFinite(threshold)) throw invalid('recognizer.threshold', 'a number', threshold);
  if (typeof model !== 'string' || model === '' || model.length > 200) throw invalid('recognizer.model', 'a name of 1 to 200 characters', model);
  if (version !== undefined && (typeof version !== 'string' || version.length > 200))
    throw invalid('recognizer.version', 'text of at most 200 characters', version);
  if (faces !== undefined && typeof faces !== 'function') throw invalid('recognizer.faces', 'a function', faces);
  return { model, version: version ?? (typeof weights === 'string' ? await digest(weights) : ''), dimension, metric };
}

async function digest(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex').slice(0, 16);
}
