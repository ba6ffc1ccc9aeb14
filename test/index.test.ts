import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Index } from 'faiss-vision/ann';
import { afterAll, describe, expect, it } from 'vitest';
import { bruteForce, clustered, distance, error, recall, row, rows, type FloatMetric } from './support/index-vectors';

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-index-'));
afterAll(() => rmSync(folder, { recursive: true }));

const d = 32;
const n = 1000;
const k = 10;
const known = clustered(n, d, 1);
const queries = clustered(20, d, 2);
const truths = new Map<FloatMetric, ReturnType<typeof bruteForce>[]>();
function truth(metric: FloatMetric) {
  const compare = (a: Float32Array, b: Float32Array) => distance(a, b, metric);
  if (!truths.has(metric)) truths.set(metric, rows(queries, d).map(([, query]) => bruteForce(rows(known, d), query, compare, metric === 'ip')));
  return truths.get(metric)!;
}

/**
 * What a type can do: (r)emove, keep (i)ds, give vectors back (C: as they came, c: nearly, d: what its codes stand for),
 * search by r(a)dius, (f)ilter and take over another's vectors (m); and how many of the true ten nearest it has to find,
 * of 1. "np" because FAISS orders a product quantizer's codes for seconds.
 */
type Family = [description: string, can: string, recall: number, metric?: FloatMetric];
const families: Family[] = [
  ['Flat', 'rCafm', 1], ['Flat', 'rCafm', 1, 'ip'], ['Flat', 'rCm', 1, 'l1'], ['Flat', 'rCm', 1, 'linf'], ['Flat', 'rCm', 1, 'canberra'],
  ['Flat', 'rCm', 1, 'braycurtis'], ['Flat', 'rCm', 1, 'jensenshannon'],
  ['IDMap,Flat', 'riCafm', 1], ['IDMap2,Flat', 'riCafm', 1], ['Flat,IDMap2', 'riCafm', 1, 'ip'],
  ['IVF16,Flat', 'riCafm', 0.8], ['IVF16,Flat', 'riCafm', 0.1, 'ip'], ['IVF16,PQ8x4np', 'ricafm', 0.2], ['IVF16,PQ16np', 'ricafm', 0.4],
  ['IVF16,SQ8', 'ricafm', 0.8], ['IVF16,SQfp16', 'ricafm', 0.8], ['IVF16,SQ4', 'ricafm', 0.5], ['IVF16,PQ16x4fs', 'ic', 0.2],
  ['IVF16,PQ16x4fsr', 'ic', 0.2], ['IVF16,RQ4x4', 'rim', 0.2], ['IVF16,FlatDedup', 'ri', 0.8], ['IVF16,PQ4+4', 'ic', 0.3],
  ['IVF16_HNSW8,Flat', 'riCafm', 0.8], ['IVF16_HNSW8,SQ8', 'ricafm', 0.8], ['IMI2x3,Flat', 'riCafm', 0.2], ['IVF16(PQ4x4np),Flat', 'riCafm', 0.4],
  ['HNSW16', 'Cf', 0.9], ['HNSW16,Flat', 'Cf', 0.5, 'ip'], ['HNSW16', 'Cf', 0.9, 'l1'], ['HNSW16', 'Cf', 0.9, 'linf'], ['HNSW16,SQ8', 'cf', 0.8],
  ['HNSW16,PQ16np', 'cf', 0.3], ['NSG16', 'C', 0.8], ['NSG16,SQ8', 'c', 0.8], ['IDMap2,HNSW16', 'iCf', 0.9],
  ['PQ16np', 'rcm', 0.4], ['PQ16x4np', 'rcm', 0.3], ['PQ16x4fs', 'rc', 0.3], ['RQ4x4', 'rc', 0.2], ['RQ4x4fs_Nrq2x4', 'rd', 0.05], ['LSQ2x4', 'rd', 0.05],
  ['PRQ2x2x4', 'rc', 0.1], ['SQ8', 'rcfm', 0.9], ['SQ6', 'rcfm', 0.8], ['SQ4', 'rcfm', 0.5], ['SQfp16', 'rcfm', 0.95],
  ['SQ8', 'rcfm', 0.8, 'ip'], ['LSHt', 'rdm', 0.02], ['LSHrt', 'rdm', 0.02], ['PCA16,Flat', 'rdafm', 0.4], ['PCAR32,SQ8', 'rcfm', 0.8],
  ['OPQ8_16,PQ8x4np', 'rdm', 0.2], ['ITQ,LSH', 'rm', 0.02], ['RR,Flat', 'rcafm', 0.95], ['RR64,LSH', 'rdm', 0.02], ['L2norm,Flat', 'rdafm', 0.3],
  ['Pad64,Flat', 'rCafm', 1], ['PCA16,IVF16,Flat', 'ridafm', 0.4], ['IDMap2,PCA16,Flat', 'idaf', 0.4], ['PCA16,IDMap2,SQ8', 'ridfm', 0.4],
  ['PQ8x4np,RFlat', 'C', 0.2], ['SQ4,Refine(SQ8)', 'cf', 0.7], ['IVF16,PQ8x4np,RFlat', 'Cf', 0.2], ['HNSW16,RFlat', 'Cf', 0.9],
];

describe.each(families)('%s (%s)', (description, can, floor, metric = 'l2') => {
  const exact = can.includes('C');
  const filled = async () => {
    const index = Index.factory(d, description, { metric });
    if (!index.isTrained) await index.train(known);
    await index.add(known, description.includes('IDMap') ? Array.from({ length: n }, (_, i) => i) : undefined);
    return index;
  };
  let made: Promise<Index> | undefined;
  /** One for all tests that leave it as it is. */
  const shared = () => (made ??= filled());
  const copy = async () => Index.fromBuffer(await (await shared()).toBuffer());
  const unsupported = error('ERR_UNSUPPORTED');

  it('finds the nearest, the same again after save and load', async () => {
    const index = await shared();
    expect(index).toMatchObject({ dimension: d, metric, ntotal: n, isTrained: true, queue: 0 });
    const found = await index.search(queries, k);
    expect(recall(found.labels, k, truth(metric))).toBeGreaterThanOrEqual(floor);
    expect(index.searchSync(queries, k)).toEqual(found);
    for (let i = 1; i < found.distances.length; i++) {
      if (i % k !== 0) expect(found.distances[i]! * (metric === 'ip' ? -1 : 1)).toBeGreaterThanOrEqual(found.distances[i - 1]! * (metric === 'ip' ? -1 : 1));
    }
    if (floor === 1) found.distances.forEach((value, i) => expect(value).toBeCloseTo(truth(metric)[Math.floor(i / k)]![i % k]!.distance, 3));

    const path = join(folder, 'some.index');
    await index.save(path);
    const described = await index.describe();
    expect(described).toMatchObject({ dimension: d, metric, ntotal: n, isTrained: true });
    expect(described.type).toMatch(/^Index/);
    for (const again of [await Index.load(path), Index.loadSync(path), await Index.fromBuffer(await index.toBuffer()), Index.fromBufferSync(index.toBufferSync())]) {
      expect(again).toMatchObject({ dimension: d, metric, ntotal: n, isTrained: true });
      expect(await again.describe()).toMatchObject({ type: expect.stringContaining(described.type), bytes: described.bytes }); // IndexRefine is read as IndexRefineFlat
      for (const name of Object.keys(described.parameters)) {
        if (name !== 'k_factor_rf') await again.set(name, described.parameters[name]!); // FAISS's files have some of them only
      }
      expect(await again.search(queries, k)).toEqual(found);
      await again.close();
    }
    expect(readdirSync(folder)).toEqual(['some.index']);
  });

  it('gives vectors back, or says that it cannot', async () => {
    const index = await shared();
    if (!/[cd]/i.test(can)) return expect(index.reconstruct(7)).rejects.toThrowError(unsupported);
    const ids = [0, 999, 7, 7, 500];
    const back = await index.reconstructBatch(ids);
    expect(index.reconstructBatchSync(ids)).toEqual(back);
    expect(await index.reconstruct(999n)).toEqual(row(back, d, 1));
    expect(row(back, d, 2)).toEqual(row(back, d, 3));
    // What most indexes keep of a vector is nearer to it than another cluster is.
    const most = exact ? 1e-9 : can.includes('c') ? 12 : Infinity;
    ids.forEach((id, i) => expect(distance(row(back, d, i), row(known, d, id), 'l2')).toBeLessThan(most));
    await expect(index.reconstruct(n)).rejects.toThrowError(error('ERR_UNKNOWN_ID', String(n)));
    await expect(index.reconstructBatch([1, 2, 5e9])).rejects.toThrowError(error('ERR_UNKNOWN_ID', '5000000000'));
  });

  it('searches by radius, or says that it cannot', async () => {
    const index = await shared();
    const { distances } = await index.search(queries, 50);
    const radius = distances[4]!;
    if (!can.includes('a')) return expect(index.rangeSearch(queries, radius)).rejects.toThrowError(unsupported);
    const found = await index.rangeSearch(queries, radius);
    expect(index.rangeSearchSync(queries, radius)).toEqual(found);
    expect([...found.limits]).toEqual([...found.limits].sort((a, b) => a - b));
    expect([found.limits.length, found.limits[20], found.limits[20]]).toEqual([21, found.distances.length, found.labels.length]);
    const inside = (value: number) => (metric === 'ip' ? value > radius : value < radius);
    expect(found.distances.every(inside)).toBe(true);
    const all = await index.search(queries, n);
    for (let i = 0; i < 20; i++) {
      const near = [...all.labels.subarray(i * n, (i + 1) * n)].filter((label, j) => label >= 0n && clearly(all.distances[i * n + j]!, radius) && inside(all.distances[i * n + j]!));
      const [from, to] = [found.limits[i]!, found.limits[i + 1]!];
      const ids = [...found.labels.subarray(from, to)].filter((_, j) => clearly(found.distances[from + j]!, radius));
      expect(ids.sort()).toEqual(near.sort());
    }
  });

  it('removes, or says that it cannot', async () => {
    const index = await copy();
    const before = await index.search(queries, k);
    if (!can.includes('r')) {
      await expect(index.remove([3, 700])).rejects.toThrowError(unsupported);
      expect(await index.search(queries, k)).toEqual(before);
      expect(index.ntotal).toBe(n);
      return;
    }
    expect(await index.remove([3, 700, 5000, 3])).toBe(2);
    expect(index.ntotal).toBe(n - 2);
    const { labels } = await index.search(queries, n);
    const left = new Set(labels.filter((label) => label >= 0n));
    if (can.includes('i')) {
      expect(left.has(3n) || left.has(700n)).toBe(false); // the others keep theirs
      if (exact) expect(await index.reconstruct(701)).toEqual(row(known, d, 701));
      await expect(index.remove([3])).resolves.toBe(0);
    } else {
      expect(left.has(998n) || left.has(999n)).toBe(false); // the others moved up
      if (exact) expect(await index.reconstructBatch([3, 997])).toEqual(Float32Array.from([...row(known, d, 4), ...row(known, d, 999)]));
    }
  });

  it('filters, or says that it cannot', async () => {
    const index = await shared();
    const filter = { keep: { from: 500, to: 900 } };
    if (!can.includes('f')) return expect(index.search(queries, k, { filter })).rejects.toThrowError(unsupported);
    const { labels } = await index.search(queries, k, { filter, params: widest((await index.describe()).parameters) });
    expect(labels.every((label) => label === -1n || (label >= 500n && label < 900n))).toBe(true);
    const kept = truth(metric).map((found) => found.filter(({ id }) => id >= 500 && id < 900));
    expect(recall(labels, k, kept)).toBeGreaterThanOrEqual(floor);
  });

  it('takes over another one\'s vectors, or says that it cannot', async () => {
    const index = await copy();
    const other = await copy();
    const ids = can.includes('i');
    if (!can.includes('m')) {
      await expect(index.mergeFrom(other)).rejects.toThrowError(unsupported);
      expect([index.ntotal, other.ntotal]).toEqual([n, n]);
      return;
    }
    await index.mergeFrom(other, ids ? { addId: n } : {});
    expect([index.ntotal, other.ntotal]).toEqual([2 * n, 0]);
    expect(other.searchSync(queries, 1).labels.every((label) => label === -1n)).toBe(true);
    const { distances, labels } = await index.search(queries, 2);
    for (let i = 0; i < 20; i++) {
      expect(distances[2 * i]).toBe(distances[2 * i + 1]); // each vector is there twice
      if (floor === 1) expect([...labels.subarray(2 * i, 2 * i + 2)].map((label) => Number(label) % n)).toEqual(Array(2).fill(truth(metric)[i]![0]!.id));
    }
    await index.reset();
    expect(index.ntotal).toBe(0);
    expect([...(await index.search(queries, 1)).labels]).toEqual(Array(20).fill(-1n));
  });
});

/** Well inside or outside, so that rounding decides nothing. */
function clearly(value: number, radius: number) {
  return Math.abs(value - radius) > 1e-4 * Math.abs(radius);
}

/** So many lists and candidates that the filter is all that keeps a vector out. */
function widest(parameters: Record<string, number>) {
  return Object.fromEntries(Object.keys(parameters).filter((name) => name === 'efSearch' || name === 'k_factor_rf').map((name) => [name, 200]));
}
