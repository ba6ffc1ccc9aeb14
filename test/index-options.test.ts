import {
  Index, IndexFlatIP, IndexFlatL2, IndexHNSW, IndexIVFFlat, IndexIVFPQ, IndexLSH, IndexPQ, IndexScalarQuantizer, type Filter,
} from 'faiss-vision/ann';
import { describe, expect, it } from 'vitest';
import { bitmap, bruteForce, clustered, distance, error, recall, row, rows } from './support/index-vectors';
import { seeded } from './support/vectors';

const d = 16;
const n = 800;
const k = 5;
const x = seeded(n * d, 1);
const queries = seeded(30 * d, 2);
const widest = { 'IVF8,Flat': { nprobe: 8 }, HNSW32: { efSearch: 800 } } as Record<string, Record<string, number>>;
const inner = (description: string) => Object.keys(widest).find((name) => description.includes(name)) ?? '';

/** Everything that is exact when it looks at everything, with ids that are no positions where it keeps ids. */
const exact = ['Flat', 'IDMap2,Flat', 'IDMap,Flat', 'IVF8,Flat', 'HNSW32', 'IDMap2,HNSW32', 'RR,Flat', 'RR,IVF8,Flat', 'IDMap2,RR,Flat', 'RR,IDMap,Flat', 'SQ8,RFlat', 'RR,HNSW32'];

function filled(description: string) {
  const index = Index.factory(d, description);
  const keepsIds = /IDMap|IVF/.test(description) && !description.includes('RFlat');
  const ids = Array.from({ length: n }, (_, i) => (keepsIds ? (i * 7) % 5600 : i));
  index.trainSync(x);
  index.addSync(x, keepsIds ? ids : undefined);
  return { index, ids, known: rows(x, d, ids) };
}

describe.each(exact)('filters of %s', (description) => {
  const { index, ids, known } = filled(description);
  const params = { ...widest[inner(description)], ...(description.includes('RFlat') ? { k_factor_rf: 160 } : {}) };
  const some = ids.filter((_, i) => i % 3 === 0);
  const rare = [ids[5]!, ids[6]!, ids[700]!];
  const all = Math.max(...ids) + 1;
  const filters: [string, Filter, (id: number) => boolean][] = [
    ['a list', { keep: some }, (id) => some.includes(id)],
    ['all but a list', { leaveOut: some }, (id) => !some.includes(id)],
    ['three', { keep: rare }, (id) => rare.includes(id)],
    ['bigints', { keep: some.map(BigInt) }, (id) => some.includes(id)],
    ['a BigInt64Array', { leaveOut: BigInt64Array.from(some, BigInt) }, (id) => !some.includes(id)],
    ['one', { keep: ids[9]! }, (id) => id === ids[9]],
    ['all but one', { leaveOut: BigInt(ids[9]!) }, (id) => id !== ids[9]],
    ['a range', { keep: { from: 100, to: 400 } }, (id) => id >= 100 && id < 400],
    ['all but a range', { leaveOut: { from: 100n, to: 400 } }, (id) => id < 100 || id >= 400],
    ['a range without end', { keep: { from: 300, to: 2n ** 63n - 1n } }, (id) => id >= 300],
    ['an empty range', { keep: { from: 400, to: 100 } }, () => false],
    ['all but an empty range', { leaveOut: { from: 5, to: 5 } }, () => true],
    ['a bitmap', { keep: bitmap(some) }, (id) => some.includes(id)],
    ['all but a bitmap', { leaveOut: bitmap(some) }, (id) => !some.includes(id)],
    ['a short bitmap', { keep: Uint8Array.of(255) }, (id) => id < 8],
    ['an empty bitmap', { leaveOut: new Uint8Array(0) }, () => true],
    ['nothing', { keep: [] }, () => false],
    ['all', { leaveOut: [] }, () => true],
    ['ids that are not there', { keep: [all + 5, ids[3]!, 2n ** 62n] }, (id) => id === ids[3]],
  ];

  it.each(filters)('%s', async (_, filter, allowed) => {
    const found = await index.search(queries, k, { filter, params });
    expect(index.searchSync(queries, k, { filter, params })).toEqual(found);
    const truth = rows(queries, d).map(([, query]) => bruteForce(known.filter(([id]) => allowed(id)), query, (a, b) => distance(a, b, 'l2')));
    truth.forEach((expected, i) => {
      for (let j = 0; j < k; j++) {
        const label = Number(found.labels[i * k + j]);
        expect(label === -1 || allowed(label)).toBe(true);
        if (description.includes('HNSW')) continue; // by recall, below: what is kept need not be reachable
        expect(label).toBe(expected[j]?.id ?? -1);
        if (label !== -1) expect(found.distances[i * k + j]).toBeCloseTo(expected[j]!.distance, 4);
      }
    });
    if (truth[0]!.length >= k && description.includes('HNSW')) expect(recall(found.labels, k, truth)).toBeGreaterThan(0.95);
  });

  it('in a range search', async () => {
    const filter = { keep: { from: 100, to: 400 } };
    if (/HNSW|SQ8/.test(description)) return expect(index.rangeSearch(queries, 3, { filter })).rejects.toThrowError(error('ERR_UNSUPPORTED'));
    const { limits, labels, distances } = await index.rangeSearch(queries, 3, { filter, params });
    rows(queries, d).forEach(([i, query]) => {
      const expected = bruteForce(known.filter(([id]) => id >= 100 && id < 400), query, (a, b) => distance(a, b, 'l2')).filter((found) => found.distance < 3);
      const got = [...labels.subarray(limits[i]!, limits[i + 1]!)].map((label, j) => ({ id: Number(label), distance: distances[limits[i]! + j]! })).sort((a, b) => a.distance - b.distance);
      expect(got.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    });
  });
});

it.each(['LSH', 'PQ4x4np', 'IVF8,PQ4x4fs', 'IVF8,RQ2x4', 'NSG16', 'PQ4x4fs', 'IDMap2,PQ4x4np', 'PCA8,PQ4x4np', 'PQ4x4np,RFlat'])('%s cannot filter, and says so', async (description) => {
  const { index } = filled(description);
  const before = index.searchSync(queries, k);
  for (const filter of [{ keep: [1] }, { leaveOut: { from: 1, to: 5 } }]) {
    const refused = error('ERR_UNSUPPORTED', '`filter` cannot be used with an Index');
    await expect(index.search(queries, k, { filter })).rejects.toThrowError(refused);
    expect(() => index.searchSync(queries, k, { filter })).toThrowError(refused);
  }
  expect(index.searchSync(queries, k)).toEqual(before);
});

describe('parameters', () => {
  const cases: [string, Record<string, number>, string, number][] = [
    ['IVF8,Flat', { nprobe: 1, max_codes: 0 }, 'nprobe', 8],
    ['HNSW16', { efSearch: 16, efConstruction: 40 }, 'efSearch', 300],
    ['SQ4,RFlat', { k_factor_rf: 1 }, 'k_factor_rf', 4.5],
    ['IVF8,PQ8x4np,RFlat', { k_factor_rf: 1, nprobe: 1, max_codes: 0, ht: 32 }, 'nprobe', 8],
    ['IVF8_HNSW8,Flat', { nprobe: 1, max_codes: 0, quantizer_efSearch: 16, quantizer_efConstruction: 40 }, 'quantizer_efSearch', 64],
    ['IDMap2,RR,IVF8,Flat', { nprobe: 1, max_codes: 0 }, 'nprobe', 8],
    ['NSG16', { search_L: 16 }, 'search_L', 5000], // more than there are vectors
    ['PQ4np', { ht: 32 }, 'ht', 20],
  ];
  it.each(cases)('of %s', async (description, parameters, name, value) => {
    const { index } = filled(description);
    expect((await index.describe()).parameters).toEqual(parameters);
    expect(await index.get(name)).toBe(parameters[name]);
    const plain = await index.search(queries, k);
    const once = await index.search(queries, k, { params: { [name]: value } });
    expect(await index.get(name)).toBe(parameters[name]);
    await index.set(name, value);
    expect(index.getSync(name)).toBe(value);
    expect(await index.search(queries, k)).toEqual(once);
    expect(await index.search(queries, k, { params: parameters })).toEqual(plain);
    index.setSync(name, parameters[name]!);
    expect(index.describeSync().parameters).toEqual(parameters);
  });

  it('make a search look further', async () => {
    const truth = rows(queries, d).map(([, query]) => bruteForce(rows(x, d), query, (a, b) => distance(a, b, 'l2')));
    for (const [description, name, low, high] of [['IVF8,Flat', 'nprobe', 1, 8], ['HNSW4', 'efSearch', 5, 800], ['SQ4,RFlat', 'k_factor_rf', 1, 160], ['NSG16', 'search_L', 5, 800]] as const) {
      const index = Index.factory(d, description);
      index.trainSync(x);
      index.addSync(x);
      const found = (value: number) => recall(index.searchSync(queries, k, { params: { [name]: value } }).labels, k, truth);
      expect(found(high)).toBeGreaterThan(found(low));
      expect(found(high)).toBeGreaterThan(0.97);
    }
  });
});

describe('classes', () => {
  const cases: [string, () => Index, string, string, number][] = [
    ['IndexFlatL2', () => new IndexFlatL2(d), 'IndexFlat', 'l2', 1],
    ['IndexFlatIP', () => new IndexFlatIP(d), 'IndexFlat', 'ip', 1],
    ['IndexHNSW', () => new IndexHNSW(d), 'IndexHNSWFlat', 'l2', 0.9],
    ['IndexHNSW by inner product', () => new IndexHNSW(d, 16, { metric: 'ip' }), 'IndexHNSWFlat', 'ip', 0.6],
    ['IndexIVFFlat', () => new IndexIVFFlat(d, 4), 'IndexIVFFlat', 'l2', 0.3],
    ['IndexIVFPQ', () => new IndexIVFPQ(d, 4, 2, 3), 'IndexIVFPQ', 'l2', 0.05],
    ['IndexPQ', () => new IndexPQ(d, 4, 2, { queueLimit: 5 }), 'IndexPQ', 'l2', 0.05],
    ['IndexLSH', () => new IndexLSH(d), 'IndexLSH', 'l2', 0.05],
    ['IndexLSH of more bits', () => new IndexLSH(d, 64), 'IndexPreTransform', 'l2', 0.05],
    ['IndexScalarQuantizer', () => new IndexScalarQuantizer(d), 'IndexScalarQuantizer', 'l2', 0.9],
    ['IndexScalarQuantizer of floats', () => new IndexScalarQuantizer(d, 'SQfp16', { metric: 'ip' }), 'IndexScalarQuantizer', 'ip', 0.9],
  ];
  it.each(cases)('%s', async (_, make, type, metric, floor) => {
    const index = make();
    expect(index).toBeInstanceOf(Index);
    expect(index).toMatchObject({ dimension: d, metric, ntotal: 0 });
    if (!index.isTrained) await index.train(x);
    await index.add(x);
    expect(await index.describe()).toMatchObject({ type: expect.stringContaining(type), dimension: d, metric, ntotal: n, isTrained: true }); // of IndexFlat there are several
    const truth = rows(queries, d).map(([, query]) => bruteForce(rows(x, d), query, (a, b) => distance(a, b, metric as 'l2'), metric === 'ip'));
    expect(recall(index.searchSync(queries, 10).labels, 10, truth)).toBeGreaterThanOrEqual(floor);
  });

  it('say how large they are', async () => {
    const index = new IndexFlatL2(d);
    const empty = (await index.describe()).bytes;
    await index.add(x);
    expect((await index.describe()).bytes).toBe(empty + x.byteLength);
    const bytes = await index.toBuffer();
    expect(bytes.length).toBeGreaterThanOrEqual(empty + x.byteLength);
  });

  it('hold k beyond what there is', async () => {
    const index = new IndexFlatL2(2);
    expect(await index.search(Float32Array.of(0, 0), 3)).toEqual({ distances: new Float32Array(3).fill(3.4028234663852886e38), labels: BigInt64Array.of(-1n, -1n, -1n) });
    index.addSync(Float32Array.of(1, 0, 0, 2));
    const { distances, labels } = await index.search(Float32Array.of(0, 0, 0, 1), 3);
    expect([...labels]).toEqual([0n, 1n, -1n, 1n, 0n, -1n]);
    expect([...distances].map((value) => Math.fround(value))).toEqual([1, 4, 3.4028234663852886e38, 1, 2, 3.4028234663852886e38]);
    const { labels: found } = index.searchSync(Float32Array.of(0, 0), 100_000);
    expect(found.length).toBe(100_000);
    const similar = new IndexFlatIP(2);
    expect((await similar.search(Float32Array.of(0, 0), 1)).distances[0]).toBeLessThan(-3e38);
  });

  it('keep large ids exactly', async () => {
    const index = Index.factory(2, 'IDMap2,Flat');
    const ids = [2n ** 63n - 1n, 2n ** 53n + 1n, 0n];
    await index.add(Float32Array.of(1, 0, 2, 0, 3, 0), ids);
    expect([...(await index.search(Float32Array.of(1, 0, 2, 0, 3, 0), 1)).labels]).toEqual(ids);
    expect(await index.reconstruct(2n ** 53n + 1n)).toEqual(Float32Array.of(2, 0));
    expect(await index.remove(2n ** 63n - 1n)).toBe(1);
    expect([...(await index.search(clustered(1, 2, 3), 3)).labels].sort()).toEqual([-1n, 0n, 2n ** 53n + 1n].sort());
    expect(row(await index.reconstructBatch(BigInt64Array.of(0n, 0n)), 2, 1)).toEqual(Float32Array.of(3, 0));
  });
});
