/** Seeded numbers in [-1, 1): the same on every machine (mulberry32). */
export function seeded(length: number, seed: number): Float32Array {
  const numbers = new Float32Array(length);
  let state = seed >>> 0;
  for (let i = 0; i < length; i++) {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    numbers[i] = ((x ^ (x >>> 14)) >>> 0) / 2 ** 31 - 1;
  }
  return numbers;
}

export type Metric = 'l2' | 'cosine';

/** Euclidean distance or cosine similarity in double precision. */
export function score(a: Float32Array, b: Float32Array, metric: Metric): number {
  let squares = 0;
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    squares += (a[i]! - b[i]!) ** 2;
    dot += a[i]! * b[i]!;
    aa += a[i]! ** 2;
    bb += b[i]! ** 2;
  }
  return metric === 'l2' ? Math.sqrt(squares) : dot / Math.sqrt(aa * bb);
}

/** The plainest model of a search: every known vector compared, nearest first. */
export function bruteForce(known: Map<number, Float32Array>, query: Float32Array, metric: Metric) {
  const all = [...known].map(([index, vector]) => ({ index, score: score(query, vector, metric) }));
  return all.sort((a, b) => (metric === 'l2' ? a.score - b.score : b.score - a.score));
}
