import { expect } from 'vitest';
import { seeded } from './vectors';

export type FloatMetric = 'l2' | 'ip' | 'l1' | 'linf' | 'canberra' | 'braycurtis' | 'jensenshannon';

/** An error of this package, for toThrowError. */
export const error = (code: string, text?: string) =>
  expect.objectContaining({ code, ...(text === undefined ? {} : { message: expect.stringContaining(text) }) });

/** What FAISS calls the distance, in double precision; for all but the inner product smaller is nearer. */
export function distance(a: Float32Array, b: Float32Array, metric: FloatMetric): number {
  let sum = 0;
  let other = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i]!;
    const y = b[i]!;
    const difference = Math.abs(x - y);
    if (metric === 'l2') sum += difference ** 2;
    else if (metric === 'ip') sum += x * y;
    else if (metric === 'l1') sum += difference;
    else if (metric === 'linf') sum = Math.max(sum, difference);
    else if (metric === 'canberra') sum += difference / (Math.abs(x) + Math.abs(y));
    else if (metric === 'braycurtis') {
      sum += difference;
      other += Math.abs(x + y);
    } else sum += (x * Math.log((2 * x) / (x + y)) + y * Math.log((2 * y) / (x + y))) / 2;
  }
  return metric === 'braycurtis' ? sum / other : sum;
}

/** How many bits of two vectors differ. */
export function hamming(a: Uint8Array, b: Uint8Array): number {
  let bits = 0;
  for (let i = 0; i < a.length; i++) for (let x = a[i]! ^ b[i]!; x > 0; x &= x - 1) bits++;
  return bits;
}

export interface Found {
  id: number;
  distance: number;
}

/** Every known vector compared, nearest first. */
export function bruteForce<V>(known: Iterable<readonly [number, V]>, query: V, compare: (a: V, b: V) => number, largest = false): Found[] {
  const all = Array.from(known, ([id, vector]) => ({ id, distance: compare(query, vector) }));
  return all.sort((a, b) => (largest ? b.distance - a.distance : a.distance - b.distance));
}

/** Row i of n x width numbers. */
export const row = <V extends Float32Array | Uint8Array>(x: V, width: number, i: number): V => x.subarray(i * width, (i + 1) * width) as V;

/** The rows of n x width numbers by their ids, or by their positions. */
export function rows<V extends Float32Array | Uint8Array>(x: V, width: number, ids?: readonly number[]): [number, V][] {
  return Array.from({ length: x.length / width }, (_, i) => [ids?.[i] ?? i, row(x, width, i)]);
}

/** Vectors around 40 centres, as those of real things are: n x d positive numbers. */
export function clustered(n: number, d: number, seed: number): Float32Array {
  const centres = seeded(40 * d, 9001);
  const noise = seeded(n * d, seed);
  return noise.map((value, i) => 2 + centres[(Math.floor(i / d) % 40) * d + (i % d)]! + 0.3 * value);
}

/** Bits around 40 centres, n x width bytes: each differs from its centre in some bits. */
export function clusteredBits(n: number, width: number, seed: number): Uint8Array {
  const centres = seeded(40 * width, 9002);
  const noise = seeded(n * 4, seed);
  const bits = Uint8Array.from({ length: n * width }, (_, i) => (centres[(Math.floor(i / width) % 40) * width + (i % width)]! + 1) * 128);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < 4; j++) {
      const bit = Math.floor((noise[i * 4 + j]! + 1) * 4 * width);
      bits[i * width + (bit >> 3)]! ^= 1 << (bit & 7);
    }
  }
  return bits;
}

/** Which share of the true k nearest was found. */
export function recall(labels: BigInt64Array, k: number, truth: readonly Found[][]): number {
  let hits = 0;
  truth.forEach((found, i) => {
    const got = new Set(labels.subarray(i * k, (i + 1) * k));
    for (const { id } of found.slice(0, k)) if (got.has(BigInt(id))) hits++;
  });
  return hits / (truth.length * k);
}

/** The bits of these ids. */
export function bitmap(ids: readonly number[]): Uint8Array {
  const bits = new Uint8Array((Math.max(0, ...ids) >> 3) + 1);
  for (const id of ids) bits[id >> 3]! |= 1 << (id & 7);
  return bits;
}

/** A promise's error, whatever it is. */
export const failure = (promise: Promise<unknown>): Promise<Error & { code: string }> =>
  promise.then(() => Promise.reject(new Error('it was fulfilled')), (reason) => reason as Error & { code: string });
