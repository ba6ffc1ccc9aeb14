import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BinaryIndex, Index } from 'faiss-vision/ann';
import { afterAll, describe, expect, it } from 'vitest';
import { bruteForce, clusteredBits, error, hamming, row, rows } from './support/index-vectors';

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-binary-'));
afterAll(() => rmSync(folder, { recursive: true }));

const bits = 256;
const width = bits / 8;
const n = 1200;
const k = 10;
const known = clusteredBits(n, width, 1);
const queries = clusteredBits(20, width, 2);
const truth = rows(queries, width).map(([, query]) => bruteForce(rows(known, width), query, hamming));

/** As in index.test.ts: (r)emove, keep (i)ds, (c) give vectors back, search by r(a)dius, (m)erge; and the recall it has to have. */
const families: [description: string, can: string, recall: number, params?: Record<string, number>][] = [
  ['BFlat', 'rca', 1], ['IDMap,BFlat', 'rica', 1], ['IDMap2,BFlat', 'rica', 1], ['BIVF16', 'ricam', 0.7], ['BIVF16', 'ricam', 1, { nprobe: 16 }],
  ['BIVF16_HNSW8', 'ricam', 1, { nprobe: 16 }], ['BHNSW16', 'c', 0.9], ['IDMap2,BHNSW16', 'ic', 0.9], ['BHash8', 'ia', 0.3], ['BHash4x8', 'a', 0.7],
  ['BHash4x8', 'a', 0.9, { nflip: 1 }], ['IDMap2,BHash4x8', 'ia', 0.7],
];

describe.each(families)('%s (%s)', (description, can, floor, params) => {
  const ids = can.includes('i') ? Array.from({ length: n }, (_, i) => i * 3) : undefined;
  const filled = async () => {
    const index = BinaryIndex.factory(bits, description);
    if (!index.isTrained) await index.train(known);
    await index.add(known, ids);
    return index;
  };
  let made: Promise<BinaryIndex> | undefined;
  const shared = () => (made ??= filled());
  const copy = async () => BinaryIndex.fromBuffer(await (await shared()).toBuffer());
  const position = (label: bigint) => (ids === undefined || label < 0n ? label : label / 3n);

  it('finds the nearest, the same again after save and load', async () => {
    const index = await shared();
    expect(index).toMatchObject({ dimension: bits, metric: 'hamming', ntotal: n, isTrained: true, queue: 0 });
    const options = params === undefined ? {} : { params };
    const found = await index.search(queries, k, options);
    expect(found.distances).toBeInstanceOf(Int32Array);
    // Many are equally far, and any of them will do.
    const near = found.distances.filter((distance, i) => distance <= truth[Math.floor(i / k)]![k - 1]!.distance);
    expect(near.length / found.distances.length).toBeGreaterThanOrEqual(floor);
    found.labels.forEach((label, i) => {
      if (label === -1n) return;
      expect(found.distances[i]).toBe(hamming(row(queries, width, Math.floor(i / k)), row(known, width, Number(position(label)))));
      if (floor === 1) expect(found.distances[i]).toBe(truth[Math.floor(i / k)]![i % k]!.distance);
    });
    expect(index.searchSync(queries, k, options)).toEqual(found);
    const path = join(folder, 'some.index');
    await index.save(path);
    for (const again of [await BinaryIndex.load(path), BinaryIndex.loadSync(path), await copy(), BinaryIndex.fromBufferSync(index.toBufferSync())]) {
      expect(again).toMatchObject({ dimension: bits, metric: 'hamming', ntotal: n, isTrained: true });
      expect(await again.describe()).toEqual(await index.describe());
      expect(await again.search(queries, k, options)).toEqual(found);
    }
    expect(readdirSync(folder)).toEqual(['some.index']);
    await expect(Index.load(path)).rejects.toThrowError(error('ERR_INDEX_CORRUPT'));
  });

  it('gives vectors back, or says that it cannot', async () => {
    const index = await shared();
    const wanted = [0, n - 1, 7, 7].map((i) => (ids === undefined ? i : ids[i]!));
    if (!can.includes('c')) return expect(index.reconstructBatch(wanted)).rejects.toThrowError(error('ERR_UNSUPPORTED'));
    expect(await index.reconstructBatch(wanted)).toEqual(Uint8Array.from([0, n - 1, 7, 7].flatMap((i) => [...row(known, width, i)])));
    expect(index.reconstructSync(wanted[2]!)).toEqual(row(known, width, 7).slice());
    await expect(index.reconstruct(5 * n)).rejects.toThrowError(error('ERR_UNKNOWN_ID'));
  });

  it('searches by radius, or says that it cannot', async () => {
    const index = await shared();
    if (!can.includes('a')) return expect(index.rangeSearch(queries, 20)).rejects.toThrowError(error('ERR_UNSUPPORTED'));
    const { limits, labels, distances } = await index.rangeSearch(queries, 20, params === undefined ? {} : { params });
    expect(distances).toBeInstanceOf(Int32Array);
    truth.forEach((all, i) => {
      const expected = new Map(all.filter(({ distance }) => distance < 20).map(({ id, distance }) => [BigInt(id), distance]));
      const found = [...labels.subarray(limits[i]!, limits[i + 1]!)].map(position);
      found.forEach((label, j) => expect(distances[limits[i]! + j]).toBe(expected.get(label)));
      expect(new Set(found).size).toBe(found.length);
      if (floor === 1) expect(found.length).toBe(expected.size);
    });
  });

  it('removes, or says that it cannot', async () => {
    const index = await copy();
    const [a, b] = ids === undefined ? [3, 700] : [9, 2100];
    if (!can.includes('r')) {
      await expect(index.remove([a, b])).rejects.toThrowError(error('ERR_UNSUPPORTED'));
      expect(index.ntotal).toBe(n);
      return;
    }
    expect(await index.remove([a, b, 99_999])).toBe(2);
    expect(index.ntotal).toBe(n - 2);
    expect(await index.reconstruct(ids === undefined ? 1000 : 3006)).toEqual(row(known, width, 1002).slice());
    const { labels } = await index.search(row(known, width, 3), n, params === undefined ? {} : { params });
    expect(labels).not.toContain(ids === undefined ? 1198n : 9n);
  });

  it('takes over another one\'s vectors, or says that it cannot', async () => {
    const index = await copy();
    const other = await copy();
    if (!can.includes('m')) return expect(index.mergeFrom(other)).rejects.toThrowError(error('ERR_UNSUPPORTED'));
    await expect(index.mergeFrom(other)).rejects.toThrowError(error('ERR_DUPLICATE_ID'));
    await index.mergeFrom(other, { addId: 10_000 });
    expect([index.ntotal, other.ntotal]).toEqual([2 * n, 0]);
    expect(await index.reconstruct(10_003)).toEqual(row(known, width, 1).slice());
  });

  it('forgets all at a reset', async () => {
    const index = await copy();
    await index.reset();
    expect(index).toMatchObject({ ntotal: 0, isTrained: true });
    expect([...(await index.search(queries, 1)).labels]).toEqual(Array(20).fill(-1n));
    await index.add(queries, can.includes('i') ? Array.from({ length: 20 }, (_, i) => i) : undefined);
    const { labels } = await index.search(queries, 5, params === undefined ? {} : { params });
    expect(labels.every((label) => label < 20n)).toBe(true); // and nothing of before
    for (let i = 0; i < 20; i++) expect(labels[5 * i]).toBeGreaterThanOrEqual(0n);
  });
});

describe('a BinaryIndex', () => {
  it('refuses what it is not for', async () => {
    const index = BinaryIndex.factory(64, 'BFlat');
    const code = 'ERR_INVALID_ARGUMENT';
    await expect(index.add(new Float32Array(8) as never)).rejects.toThrowError(error(code, '`vectors` must be a Uint8Array, got a Float32Array of 8'));
    await expect(index.add(new Uint8Array(9))).rejects.toThrowError(error('ERR_DIMENSION_MISMATCH', 'vectors of 8 bytes, got 9 bytes'));
    expect(() => index.addSync(new Uint8Array(0))).toThrowError(error('ERR_EMPTY_INPUT', '8 bytes'));
    await expect(index.search(new Uint8Array(8), 0)).rejects.toThrowError(error(code, '`k`'));
    await expect(index.rangeSearch(new Uint8Array(8), NaN)).rejects.toThrowError(error(code, '`radius`'));
    await index.add(new Uint8Array(8));
    await expect(index.search(new Uint8Array(8), 1, { filter: { keep: [1] } })).rejects.toThrowError(error('ERR_UNSUPPORTED', 'cannot leave vectors out'));
    await expect(index.search(new Uint8Array(8), 1, { params: { nprobe: 1 } })).rejects.toThrowError(error('ERR_UNKNOWN_PARAMETER', 'which has none'));
    await expect(index.mergeFrom(Index.factory(8, 'Flat') as never)).rejects.toThrowError(error(code, '`other` must be a BinaryIndex'));
    expect((await index.search(new Uint8Array(8), 2)).labels).toEqual(BigInt64Array.of(0n, -1n));
  });

  it('takes its radius as a bound that is not reached', async () => {
    const index = BinaryIndex.factory(64, 'BFlat');
    await index.add(Uint8Array.from({ length: 24 }, (_, i) => (i === 8 ? 7 : i === 16 ? 127 : 0))); // 0, 3 and 7 bits
    const query = new Uint8Array(8);
    const found = async (radius: number) => [...(await index.rangeSearch(query, radius)).labels].map(Number).sort();
    expect(await found(-1)).toEqual([]);
    expect(await found(0)).toEqual([]);
    expect(await found(0.5)).toEqual([0]);
    expect(await found(3)).toEqual([0]);
    expect(await found(3.1)).toEqual([0, 1]);
    expect(await found(7)).toEqual([0, 1]);
    expect(await found(1e300)).toEqual([0, 1, 2]);
    expect(await found(-1e300)).toEqual([]);
  });

  it('is opened by other threads, and searched by many at once', async () => {
    const index = BinaryIndex.factory(bits, 'BFlat');
    await index.add(known);
    const other = BinaryIndex.attach(index.share());
    const answers = await Promise.all(rows(known, width).map(([i, x]) => (i % 2 === 0 ? index : other).search(x, 1)));
    answers.forEach(({ distances }) => expect(distances[0]).toBe(0));
    expect(() => BinaryIndex.attach(Index.factory(8, 'Flat').share())).toThrowError(error('ERR_INVALID_ARGUMENT', '`handle`'));
  });
});
