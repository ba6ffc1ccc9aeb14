import type { Index } from '../ann';
import { type FilledPage, pageIn, pageMemory } from './database';
import { listsOf } from './index-kind';

/** Reads faces by number, behind `after` and up to `last`, into a `pageMemory`. */
export type ReadPage = (after: number, last: number, memory: SharedArrayBuffer) => Promise<FilledPage>;

/** Faces whose nearest others the recall is measured by. */
const SAMPLE = 512;
const RECALL = 0.99;
const NPROBES = [4, 8, 16, 32, 64, 128, 256];
/** Vectors for each list when an IVF is trained; FAISS warns below 39. */
const TRAINING = 48;

/** Features from all over the gallery to train an index by. */
export function examples(read: ReadPage, description: string, dimension: number, last: number): Promise<Float32Array> {
  const lists = Number(/IVF(\d+)/.exec(description)?.[1] ?? 0);
  return sample(read, Math.max(lists * TRAINING, 4096), dimension, last);
}

async function sample(read: ReadPage, count: number, dimension: number, last: number): Promise<Float32Array> {
  const pages: Float32Array[] = [];
  const memory = pageMemory(dimension);
  const { features } = pageIn(memory, dimension);
  const every = Math.max(1, Math.floor(last / count));
  let taken = 0;
  for (let after = 0; after < last && taken < count * dimension;) {
    const { count: filled, next } = await read(after, last, memory);
    if (filled === 0) break;
    const some = new Float32Array(Math.ceil(filled / every) * dimension);
    for (let i = 0; i * every < filled; i++) some.set(features.subarray(i * every * dimension, (i * every + 1) * dimension), i * dimension);
    pages.push(some);
    taken += some.length;
    after = next;
  }
  const all = new Float32Array(taken);
  let at = 0;
  for (const page of pages) {
    all.set(page, at);
    at += page.length;
  }
  return all.slice(0, count * dimension);
}

export interface Tuned {
  /** Lists that a search looks through, where there are lists. */
  nprobe?: number;
  /** Of the gallery's own faces, how many had the same nearest other face as in exact search. */
  recall?: number;
}

/**
 * Has an index look through as many lists as it takes, and measures its recall on the gallery's own faces: beside a flat index, or
 * beside all of its own lists, which are exact too.
 */
export async function tune(index: Index, flat: Index | undefined, description: string, read: ReadPage, last: number): Promise<Tuned> {
  const x = await sample(read, SAMPLE, index.dimension, last);
  const lists = listsOf(description);
  if (x.length === 0 || (lists === undefined && flat === undefined)) return {};
  const exact = lists === undefined ? await flat!.search(x, 2) : await index.search(x, 2, { params: { nprobe: lists } });
  const steps = 'nprobe' in (await index.describe()).parameters ? NPROBES : [undefined];
  let tuned: Tuned = {};
  for (const nprobe of steps) {
    if (nprobe !== undefined) await index.set('nprobe', nprobe);
    const recall = agreement((await index.search(x, 2)).labels, exact.labels);
    tuned = nprobe === undefined ? { recall } : { nprobe, recall };
    if (recall >= RECALL) break;
  }
  return tuned;
}

/** For what part of the faces the nearest other one is the same: the nearest of all is the face itself, or one like it. */
function agreement(labels: BigInt64Array, exact: BigInt64Array): number {
  let same = 0;
  for (let i = 0; i < labels.length; i += 2) same += labels[i + 1] === exact[i + 1] || labels[i] === exact[i + 1] ? 1 : 0;
  return same / (labels.length / 2);
}
