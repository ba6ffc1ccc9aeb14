import { FaissVisionError } from '../error';
import type { Tuned } from './index-tuning';
import type { ModelMark } from './types';

// What the parts of a gallery in an SQLite file, and the two threads that have them, say to each other.

export interface DatabaseOptions {
  path: string;
  mark?: ModelMark | undefined;
  key?: Uint8Array | undefined;
  readOnly: boolean;
}

/** Faces as an index takes them: n labels, n x dimension numbers. */
export interface FacePage {
  labels: BigInt64Array;
  features: Float32Array;
}

/** How many faces of a page there are, and where to go on. */
export interface FilledPage {
  count: number;
  next: number;
}

/** Memory for a page of faces that both threads see: pages that are posted would wait in large numbers for the garbage collector. */
export const pageMemory = (dimension: number): SharedArrayBuffer => new SharedArrayBuffer(PAGE * (8 + 4 * dimension));

export const pageIn = (memory: SharedArrayBuffer, dimension: number): FacePage => ({
  labels: new BigInt64Array(memory, 0, PAGE),
  features: new Float32Array(memory, PAGE * 8, PAGE * dimension),
});

/** A state of the database: everything up to this transaction, and this face. */
export interface Moment {
  changes: number;
  face: number;
}

/** What changed since the last one. */
export interface Delta {
  added: FacePage;
  removed: BigInt64Array;
  /** What an index has once it has taken this over. */
  moment: Moment;
}

/** A file of the index: its checksum, and how the index was made. */
export interface SnapshotAbout {
  checksum: string;
  description: string;
  tuned: Tuned;
}

/** What the index is to be built from, and what a file of it must say to be used. */
export interface IndexSource {
  faces: number;
  moment: Moment;
  /** The file of the index that was written last, and the highest face number in it. */
  snapshot?: { about: SnapshotAbout; face: number };
  /** Labels that are in that file and were removed since. */
  removed: BigInt64Array;
}

/** Most faces that go from thread to thread at once. */
export const PAGE = 2048;

/** An index's label of a face: the person's number above the face's, so that grouping by person needs no table. */
export const labelOf = (person: number, face: number): bigint => (BigInt(person) << 32n) | BigInt(face);
export const personOf = (label: bigint): number => Number(label >> 32n);
export const faceOf = (label: bigint): number => Number(label & 0xffffffffn);

export const sameMark = (a: ModelMark, b: ModelMark): boolean =>
  a.model === b.model && a.version === b.version && a.dimension === b.dimension && a.metric === b.metric;

export const nameOf = ({ model, version, dimension, metric }: ModelMark): string => `${model} (${version}, ${dimension} numbers, ${metric})`;

export function nameTaken(name: string, id: string): FaissVisionError {
  return new FaissVisionError('ERR_NAME_TAKEN', `${JSON.stringify(name)} is the name of somebody else, whose id is ${id}`);
}
