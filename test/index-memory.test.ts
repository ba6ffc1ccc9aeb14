import { BinaryIndex, Index } from 'faiss-vision/ann';
import { describe, expect, it } from 'vitest';
import { bitmap, clusteredBits, error } from './support/index-vectors';
import { takeAway } from './support/take-away';
import { seeded } from './support/vectors';

type Anything = any; // eslint-disable-line @typescript-eslint/no-explicit-any
type Resizable = ArrayBuffer & { resize(length: number): void };
const resizable = (length: number, maxByteLength: number) => new (ArrayBuffer as Anything)(length, { maxByteLength }) as Resizable;
/** What was taken away is nobody's: let it be collected. */
const churn = () => { for (let i = 0; i < 20; i++) new Float32Array(1 << 20).fill(7); };

// 16 KB, which is copied at once, and 4 MB, which is pinned.
describe.each([[8, 512], [2000, 512]])('%i vectors of %i numbers whose memory changes during a call', (n, d) => {
  const known = seeded(n * d, 50);
  const filled = () => {
    const index = Index.factory(d, 'Flat');
    index.addSync(known);
    return index;
  };
  const self = ({ labels, distances }: { labels: BigInt64Array; distances: Float32Array }) =>
    labels.every((label, i) => Number(label) === i) && distances.every((distance) => distance < 1e-2);

  it('a buffer that is transferred away: the answer to its earlier contents', async () => {
    const index = filled();
    for (const options of [{}, { filter: { leaveOut: [n + 5] } }, { signal: new AbortController().signal }]) {
      const queries = known.slice();
      const found = index.search(queries, 1, options);
      takeAway(queries.buffer);
      churn();
      expect(self(await found)).toBe(true);
    }
    const more = known.slice();
    const added = index.add(more);
    takeAway(more.buffer);
    churn();
    await added;
    expect(await index.reconstructBatch([n, 2 * n - 1])).toEqual(Float32Array.from([...known.subarray(0, d), ...known.subarray((n - 1) * d)]));
    const trained = Index.factory(d, 'IVF2,Flat');
    const examples = known.slice();
    const training = trained.train(examples);
    takeAway(examples.buffer);
    churn();
    await training;
    expect(trained.isTrained).toBe(true);
    const within = known.slice();
    const inside = index.rangeSearch(within, 1e-3);
    takeAway(within.buffer);
    expect((await inside).limits[n]).toBe(2 * n);
  });

  it('a resizable buffer that shrinks: the answer to its earlier contents', async () => {
    const index = filled();
    const buffer = resizable(known.byteLength, 2 * known.byteLength);
    const queries = new Float32Array(buffer);
    queries.set(known);
    const found = index.search(queries, 1);
    const added = index.add(queries);
    buffer.resize(0);
    churn();
    expect(self(await found)).toBe(true);
    await added;
    expect(index.ntotal).toBe(2 * n);
    await expect(index.search(queries, 1)).rejects.toThrowError(error('ERR_EMPTY_INPUT'));
    buffer.resize(12);
    await expect(index.search(queries, 1)).rejects.toThrowError(error('ERR_DIMENSION_MISMATCH', `vectors of ${d} numbers, got 3 numbers`));
    const beyond = new Float32Array(resizable(64, 64), 32, 8);
    (beyond.buffer as Resizable).resize(40); // out of bounds now
    await expect(index.search(beyond, 1)).rejects.toBeInstanceOf(Error);
  });

  it('shared memory that is written to meanwhile: the answer to its earlier contents', async () => {
    const index = filled();
    const queries = new Float32Array(new SharedArrayBuffer(known.byteLength));
    queries.set(known);
    const found = index.search(queries, 1);
    queries.fill(NaN);
    expect(self(await found)).toBe(true);
    queries.set(known);
    expect(self(index.searchSync(queries, 1))).toBe(true);
  });

  it('an array that is overwritten meanwhile: an error or an answer, and an index that is whole', async () => {
    const index = filled();
    for (let round = 0; round < 5; round++) {
      const vectors = known.slice();
      const found = index.search(vectors, 1).then(() => true, (reason) => (reason as { code: string }).code);
      const more = Index.factory(d, 'Flat');
      const added = more.add(vectors).then(() => true, (reason) => (reason as { code: string }).code);
      vectors.fill(NaN);
      for (const outcome of [await found, await added]) expect([true, 'ERR_NOT_FINITE']).toContain(outcome);
      expect(self(index.searchSync(known, 1))).toBe(true);
    }
  });

  it('arguments whose getters take the memory away: an error, never the memory', () => {
    const index = filled();
    const away = [
      (x: Float32Array) => structuredClone(x.buffer, { transfer: [x.buffer as ArrayBuffer] }),
      (x: Float32Array) => (x.buffer as Resizable).resize(0),
    ];
    away.forEach((take, i) => {
      const fresh = () => {
        const x = i === 0 ? new Float32Array(known.length) : new Float32Array(resizable(known.byteLength, known.byteLength));
        x.set(known);
        return x;
      };
      const gone = error(i === 0 ? 'ERR_DETACHED' : 'ERR_EMPTY_INPUT');
      const trap = (x: Float32Array, value: unknown) => ({ get: () => { take(x); churn(); return value; }, enumerable: true });
      let x = fresh();
      expect(() => index.searchSync(x, 1, { filter: Object.defineProperty({}, 'keep', trap(x, [1])) as Anything })).toThrowError(gone);
      x = fresh();
      expect(() => index.searchSync(x, 1, Object.defineProperty({}, 'filter', trap(x, undefined)))).toThrowError(gone);
      x = fresh();
      expect(() => index.rangeSearchSync(x, 1, { filter: Object.defineProperty({}, 'leaveOut', trap(x, [1])) as Anything })).toThrowError(gone);
      x = fresh();
      const ids = Array.from({ length: n }, (_, j) => j);
      expect(() => Index.factory(d, 'IDMap2,Flat').addSync(x, Object.defineProperty(ids, 5, trap(x, 5)))).toThrowError(gone);
    });
    expect(self(index.searchSync(known, 1))).toBe(true);
  });

  it('arrays that nobody keeps', async () => {
    const index = filled();
    const searches = Array.from({ length: 20 }, () => index.search(known.slice(), 1));
    for (let i = 0; i < 3; i++) churn();
    for (const found of await Promise.all(searches)) expect(self(found)).toBe(true);
  });
});

describe('views', () => {
  it('that begin somewhere in a buffer', async () => {
    const d = 16;
    const pool = seeded(10_000 * d, 51);
    const index = Index.factory(d, 'Flat');
    await index.add(pool.subarray(5 * d, 9000 * d));
    for (const [begin, end] of [[7, 8], [7, 8999]] as const) {
      const { labels } = await index.search(pool.subarray(begin * d, end * d), 1);
      expect([...labels]).toEqual(Array.from({ length: end - begin }, (_, i) => BigInt(begin - 5 + i)));
    }
    class Vectors extends Float32Array {}
    expect((await index.search(new Vectors(pool.subarray(7 * d, 8 * d)), 1)).labels[0]).toBe(2n);
  });

  it('of a Buffer pool', async () => {
    const bits = clusteredBits(3000, 32, 52);
    const index = BinaryIndex.factory(256, 'BFlat');
    await index.add(Buffer.from(bits));
    const small = Buffer.from(bits.subarray(64, 96)); // Node puts small Buffers into one pool, at any offset
    expect((await index.search(small, 1)).labels[0]).toBe(2n);
    expect((await index.search(new Uint8ClampedArray(bits) as Anything, 1)).labels.length).toBe(3000);
    const bytes = Buffer.concat([Buffer.alloc(3), await index.toBuffer()]).subarray(3); // not aligned
    const again = await BinaryIndex.fromBuffer(bytes);
    expect(again.ntotal).toBe(3000);
    expect(BinaryIndex.fromBufferSync(bytes).searchSync(small, 3)).toEqual(index.searchSync(small, 3));
  });

  it('a file\'s bytes that are taken away or overwritten while they are read', async () => {
    const index = Index.factory(64, 'Flat');
    index.addSync(seeded(20_000 * 64, 53));
    const whole = index.toBufferSync();
    for (const change of [(bytes: Uint8Array) => takeAway(bytes.buffer), (bytes: Uint8Array) => bytes.fill(255)]) {
      const bytes = whole.slice();
      const opening = Index.fromBuffer(bytes).then(({ ntotal }) => ntotal, (reason) => (reason as { code: string }).code);
      change(bytes);
      churn();
      expect([20_000, 'ERR_INDEX_CORRUPT', 'ERR_INDEX_UNSUPPORTED']).toContain(await opening);
    }
    expect((await Index.fromBuffer(whole)).ntotal).toBe(20_000);
  });

  it('filters that change after the call', async () => {
    const index = Index.factory(2, 'Flat');
    index.addSync(Float32Array.of(1, 0, 2, 0, 3, 0, 4, 0));
    const bits = bitmap([2]);
    const ids = BigInt64Array.of(3n);
    const list = [0];
    const query = Float32Array.of(1, 0);
    const searches = [bits, ids, list].map((keep) => index.search(query, 1, { filter: { keep } }));
    bits.fill(255);
    ids[0] = 0n;
    list[0] = 1;
    expect((await Promise.all(searches)).map(({ labels }) => labels[0])).toEqual([2n, 3n, 0n]);
  });

  it('results are the caller\'s own', async () => {
    const index = Index.factory(64, 'Flat');
    index.addSync(seeded(1000 * 64, 54));
    const x = seeded(64, 55);
    const [a, b] = await Promise.all([index.search(x, 3), index.search(x, 3)]);
    expect(a).toEqual(b);
    a!.labels.fill(-7n);
    expect(b!.labels).not.toContain(-7n);
    expect(a!.distances.buffer).not.toBe(b!.distances.buffer);
    structuredClone(a, { transfer: [a!.distances.buffer as ArrayBuffer, a!.labels.buffer as ArrayBuffer] });
    expect(a!.labels).toHaveLength(0);
    const bytes = index.toBufferSync();
    bytes.fill(0);
    expect(index.searchSync(x, 3)).toEqual(b);
  });
});
