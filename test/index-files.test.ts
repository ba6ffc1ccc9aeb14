import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BinaryIndex, Index, type Metric } from 'faiss-vision/ann';
import { afterAll, describe, expect, it } from 'vitest';
import { pythonWithFaiss } from './support/faiss-node-packages';
import { clustered, clusteredBits, error, failure, row } from './support/index-vectors';

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-files-'));
afterAll(() => rmSync(folder, { recursive: true }));

const d = 32;
const width = 16;
const k = 4;
const floats = clustered(900, d, 1);
const floatQueries = clustered(12, d, 2);
const bits = clusteredBits(900, width, 3);
const bitQueries = clusteredBits(12, width, 4);
const indexes: [description: string, metric: Metric | 'hamming'][] = [
  ['Flat', 'l2'], ['Flat', 'ip'], ['Flat', 'l1'], ['Flat', 'linf'], ['IDMap,Flat', 'l2'], ['IDMap2,Flat', 'ip'], ['IVF8,Flat', 'l2'], ['IVF8,Flat', 'ip'], ['IVF8,PQ8np', 'l2'],
  ['IVF8,SQ8', 'l2'], ['IVF8,SQfp16', 'ip'], ['IVF8_HNSW8,Flat', 'l2'], ['IVF8,PQ8x4fs', 'l2'], ['IVF8,RQ2x4', 'l2'], ['HNSW16', 'l2'], ['HNSW16', 'ip'], ['HNSW16,SQ8', 'l2'], ['NSG16', 'l2'],
  ['PQ8np', 'l2'], ['PQ8x4fs', 'l2'], ['RQ2x4', 'l2'], ['LSQ2x4', 'l2'], ['SQ4', 'l2'], ['SQ6', 'l2'], ['SQ8', 'ip'], ['LSHrt', 'l2'], ['PCA16,Flat', 'l2'], ['OPQ8,PQ8x4np', 'l2'], ['ITQ,LSH', 'l2'],
  ['RR,IVF8,Flat', 'l2'], ['L2norm,Flat', 'ip'], ['PQ8np,RFlat', 'l2'], ['SQ4,Refine(SQ8)', 'l2'], ['BFlat', 'hamming'], ['BIVF8', 'hamming'], ['BHNSW16', 'hamming'], ['BHash8', 'hamming'], ['BHash2x8', 'hamming'],
];

interface Answer {
  distances: number[];
  labels: number[];
}

/** The same neighbours; those that are equally far may come in any order, and rounding differs between builds. */
function same(found: { distances: Float32Array | Int32Array; labels: BigInt64Array }, answer: Answer, name: string) {
  let moved = 0;
  answer.distances.forEach((distance, i) => {
    expect(Math.abs(found.distances[i]! - distance), name).toBeLessThan(1e-3 * Math.max(1, Math.abs(distance)));
    if (Number(found.labels[i]) !== answer.labels[i]) moved++;
  });
  expect(moved, `${name}: labels that differ`).toBeLessThanOrEqual(/H|NSG|Q|hamming/.test(name) ? 12 : 0); // codes are equal for many
}

const ready = new Map<string, Index>();
/** One for all tests. */
const make = ([description, metric]: (typeof indexes)[number]) => {
  const before = ready.get(description + metric);
  if (before !== undefined) return before;
  const index = metric === 'hamming' ? BinaryIndex.factory(width * 8, description) : Index.factory(d, description, { metric });
  const x = (metric === 'hamming' ? bits : floats) as Float32Array; // or bytes
  const any = index as Index;
  any.trainSync(x);
  any.addSync(x, description.includes('IDMap') ? Array.from({ length: 900 }, (_, i) => i * 3) : undefined);
  ready.set(description + metric, any);
  return any;
};
const queriesOf = (metric: string) => (metric === 'hamming' ? bitQueries : floatQueries) as Float32Array;

it('FAISS in Python reads what was saved here, and its files are read here', { timeout: 240_000 }, async (context) => {
  const python = pythonWithFaiss();
  if (python === undefined) return context.skip('no Python with faiss: pip install faiss-cpu, or npm run bench:search, which makes one');
  for (const [name, array] of Object.entries({ floats, 'floats.queries': floatQueries, bits, 'bits.queries': bitQueries })) {
    writeFileSync(join(folder, name), new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  }
  const ours = [];
  for (const [i, each] of indexes.entries()) {
    const index = make(each);
    await index.save(join(folder, `${i}.ours`));
    ours.push(index.searchSync(queriesOf(each[1]), k));
  }
  const input = JSON.stringify({ folder, d, width, k, indexes });
  const output = execFileSync(python, [join(__dirname, 'support/index-python.py')], { input, encoding: 'utf8', env: { ...process.env, OMP_NUM_THREADS: '1' }, stdio: ['pipe', 'pipe', 'ignore'] });
  const answers = JSON.parse(output) as { error?: string; ntotal: number; ours: Answer; python: Answer }[];
  for (const [i, [description, metric]] of indexes.entries()) {
    const name = `${description} by ${metric}`;
    const answer = answers[i]!;
    expect(answer.error, name).toBeUndefined();
    expect(answer.ntotal, name).toBe(900);
    same(ours[i]!, answer.ours, `${name}, read in Python`);
    const path = join(folder, `${i}.python`);
    const read = metric === 'hamming' ? await BinaryIndex.load(path) : await Index.load(path);
    expect(read, name).toMatchObject({ ntotal: 900, isTrained: true, metric });
    same((read as Index).searchSync(queriesOf(metric), k), answer.python, `${name}, read from Python`);
    const bytes = readFileSync(path);
    const again = metric === 'hamming' ? BinaryIndex.fromBufferSync(bytes) : Index.fromBufferSync(bytes);
    expect((again as Index).searchSync(queriesOf(metric), k), name).toEqual((read as Index).searchSync(queriesOf(metric), k));
  }
});

describe('a file', () => {
  it('that is saved over is the old one or the new one, whoever reads it', async () => {
    const own = mkdtempSync(join(folder, 'over-'));
    const path = join(own, 'some.index');
    const index = Index.factory(d, 'Flat');
    await index.add(floats);
    await index.save(path);
    const saves = (async () => {
      for (let i = 0; i < 30; i++) {
        await index.add(floats.subarray(0, d));
        await index.save(path);
      }
    })();
    let before = 900;
    for (let i = 0; i < 60; i++) {
      const { ntotal } = await Index.load(path);
      expect(ntotal).toBeGreaterThanOrEqual(before);
      before = ntotal;
    }
    await saves;
    expect((await Index.load(path)).ntotal).toBe(930);
    expect(readdirSync(own)).toEqual(['some.index']);
    await Promise.all([index.save(path), index.save(path), index.save(`${path} 2`)]);
    expect(readdirSync(own)).toEqual(['some.index', 'some.index 2']);
    expect(readFileSync(path).equals(readFileSync(`${path} 2`))).toBe(true);
  });

  it('is what toBuffer gives, and about as long as describe says', async () => {
    const path = join(folder, 'same.index');
    for (const each of indexes.filter(([, metric]) => metric !== 'linf')) {
      const index = make(each);
      await index.save(path);
      const bytes = await index.toBuffer();
      expect(bytes, each[0]).toEqual(new Uint8Array(readFileSync(path)));
      const { bytes: described } = await index.describe();
      expect(statSync(path).size - described, each[0]).toBeGreaterThanOrEqual(0);
      expect(statSync(path).size - described, each[0]).toBeLessThan(200); // the trailer
    }
  });

  it('may have any name', async () => {
    const index = Index.factory(2, 'Flat');
    for (const name of ['ä ö \u{1F600}', 'a\nb', '-rf', 'x'.repeat(200)]) {
      await index.save(join(folder, name));
      expect((await Index.load(join(folder, name))).dimension).toBe(2);
    }
    await expect(index.save(join(folder, 'x'.repeat(300)))).rejects.toThrowError(error('ERR_FILE_WRITE'));
    await expect(Index.load(join(folder, 'x'.repeat(300)))).rejects.toBeInstanceOf(Error);
    await expect(index.save('')).rejects.toThrowError(error('ERR_FILE_WRITE'));
    await expect(Index.load('')).rejects.toThrowError(error('ERR_FILE_NOT_FOUND'));
  });

  it('keeps an index that is empty or not trained', async () => {
    for (const description of ['Flat', 'IVF4,Flat', 'HNSW8', 'PQ4x4np', 'IDMap2,SQ8', 'PCA8,PQ4x4np', 'SQ4,RFlat', 'IVF4,PQ4x4fs', 'LSHt', 'NSG16', 'LSQ2x4']) {
      const index = Index.factory(16, description);
      for (const again of [await Index.fromBuffer(await index.toBuffer()), await Index.load((await index.save(join(folder, 'empty')), join(folder, 'empty')))]) {
        expect(again, description).toMatchObject({ ntotal: 0, isTrained: index.isTrained, dimension: 16 });
        const x = clustered(400, 16, 9);
        if (!again.isTrained) await again.train(x);
        await again.add(x, description.includes('IDMap') ? Array.from({ length: 400 }, (_, i) => i) : undefined);
        expect((await again.search(x, 1)).labels[0], description).not.toBe(-1n);
      }
    }
  });

  it.each(['RQ2x4', 'PRQ2x1x4', 'IVF4,RQ2x4', 'RQ2x4fs_Nrq2x4'])('of a %s that is not trained, which FAISS cannot read, is refused', async (description) => {
    const index = Index.factory(16, description);
    const { code } = await failure(index.toBuffer().then((bytes) => Index.fromBuffer(bytes)));
    expect(code).toMatch(/^ERR_(NOT_TRAINED|UNSUPPORTED|INDEX_UNSUPPORTED)$/);
  });
});

describe('a flat index with ids', () => {
  // The sizes around which opening takes another way: nothing, a header's worth, and more than one piece.
  it.each([0, 1, 3, 900, 40_000])('of %i vectors opens as it was saved, searched either way, and can grow', async (n) => {
    const x = clustered(n + 5, d, 5);
    const ids = Array.from({ length: n + 5 }, (_, i) => i * 3 + 1);
    for (const metric of ['l2', 'ip'] as const) {
      const index = Index.factory(d, 'IDMap,Flat', { metric });
      if (n > 0) await index.add(x.subarray(0, n * d), ids.slice(0, n));
      const path = join(folder, 'mapped');
      await index.save(path);
      for (const exact of ['bounded', 'plain'] as const) {
        const opened = await Index.load(path, { exact });
        expect(await opened.describe()).toMatchObject({ ntotal: n, metric, exact, type: 'IndexIDMap' });
        expect(await opened.search(floatQueries, k)).toEqual(await index.search(floatQueries, k));
        await opened.add(x.subarray(n * d), ids.slice(n));
        for (const i of [0, n, n + 4]) expect(await opened.reconstruct(ids[i]!)).toEqual(row(x, d, i));
        expect(await opened.remove(ids)).toBe(n + 5);
        await opened.close();
      }
      await index.close();
    }
  });

  it('is refused where anything of it was changed or cut', async () => {
    const index = Index.factory(d, 'IDMap,Flat');
    await index.add(floats, Array.from({ length: 900 }, (_, i) => i));
    const path = join(folder, 'changed');
    await index.save(path);
    const bytes = readFileSync(path);
    // In both headers, the vectors, the ids' number, the ids and the trailer.
    for (const at of [2, 9, 40, 60, 78, 90, 5000, 82 + 900 * d * 4 + 1, bytes.length - 100, bytes.length - 20, bytes.length - 3]) {
      const bad = Buffer.from(bytes);
      bad[at]! ^= 4;
      writeFileSync(path, bad);
      await expect(Index.load(path), `byte ${at}`).rejects.toThrow(error('ERR_INDEX_CORRUPT'));
    }
    for (const length of [0, 50, 90, 5000, bytes.length - 40, bytes.length - 1]) {
      writeFileSync(path, bytes.subarray(0, length));
      await expect(Index.load(path), `${length} bytes`).rejects.toThrow(error('ERR_INDEX_CORRUPT'));
    }
    expect((await failure(Index.load(path, { exact: 'fast' as 'plain' }))).code).toBe('ERR_INVALID_ARGUMENT');
  });
});
