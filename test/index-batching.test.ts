import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BinaryIndex, Index } from 'faiss-vision/ann';
import { afterAll, describe, expect, it } from 'vitest';
import { clustered, clusteredBits, error, failure, row } from './support/index-vectors';
import { seeded } from './support/vectors';

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-batching-'));
afterAll(() => rmSync(folder, { recursive: true }));

const at = (x: number) => Float32Array.of(x, 0);
const first = ({ labels }: { labels: BigInt64Array }) => Number(labels[0]);

describe('the order of operations', () => {
  it('is that of their calls, awaited or not', async () => {
    const index = Index.factory(2, 'IDMap2,Flat');
    const results = await Promise.all([
      index.search(at(1), 1), index.add(at(1), 5), index.search(at(1), 1), index.remove(5), index.search(at(1), 1),
      index.add(Float32Array.of(1, 0, 2, 0), [7, 8]), index.search(at(2), 1), index.reset(), index.search(at(1), 1), index.add(at(3), 9), index.search(at(1), 1),
    ]);
    expect([0, 2, 4, 6, 8, 10].map((i) => first(results[i] as { labels: BigInt64Array }))).toEqual([-1, 5, -1, 8, -1, 9]);
    expect(results[3]).toBe(1);
    void index.add(at(4), 10);
    expect(first(index.searchSync(at(4), 1))).toBe(10); // a synchronous call waits its turn
    void index.close();
    expect(() => index.searchSync(at(4), 1)).toThrowError(error('ERR_CLOSED'));
  });

  it('holds for parameters as well', async () => {
    const index = Index.factory(16, 'IVF16,Flat');
    const x = seeded(600 * 16, 1);
    index.trainSync(x);
    index.addSync(x);
    const [before, , after, wide, , again] = await Promise.all([
      index.search(x, 5), index.set('nprobe', 16), index.search(x, 5), index.get('nprobe'), index.set('nprobe', 1), index.search(x, 5),
    ]);
    expect(again).toEqual(before);
    expect(after).not.toEqual(before);
    expect(wide).toBe(16);
    expect(await index.search(x, 5, { params: { nprobe: 16 } })).toEqual(after);
    expect(await index.get('nprobe')).toBe(1); // that was for one search
  });

  it('holds for what two indexes do with each other', async () => {
    const a = Index.factory(2, 'IDMap2,Flat');
    const b = Index.factory(2, 'IDMap2,Flat');
    const steps = [a.add(at(1), 1), b.add(at(2), 2), a.mergeFrom(b), b.add(at(3), 3), b.mergeFrom(a), a.add(at(4), 4)];
    const [none, all] = await Promise.all([a.search(at(3), 3), b.search(at(0), 3), ...steps]);
    expect([...none.labels]).toEqual([4n, -1n, -1n]);
    expect([...all.labels]).toEqual([1n, 2n, 3n]);
    // Round and round, each waiting for the other.
    await Promise.all(Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? a.mergeFrom(b) : b.mergeFrom(a))));
    expect([a.ntotal, b.ntotal]).toEqual([0, 4]);
    const ring = [a, b, Index.factory(2, 'IDMap2,Flat')];
    await Promise.all(Array.from({ length: 300 }, (_, i) => ring[i % 3]!.mergeFrom(ring[(i * 7 + 1) % 3 === i % 3 ? (i + 1) % 3 : (i * 7 + 1) % 3]!)));
    expect(ring.reduce((sum, { ntotal }) => sum + ntotal, 0)).toBe(4);
    void a.add(at(9), 99);
    b.mergeFromSync(a);
    expect(a.ntotal).toBe(0);
  });
});

describe('many searches at once', () => {
  const d = 32;
  const x = clustered(3000, d, 2);
  const queries = clustered(400, d, 3);

  it.each(['Flat', 'IVF16,Flat', 'IVF16,PQ16np', 'HNSW16', 'SQ8', 'PCA16,IDMap2,Flat'])('give what single ones give: %s', async (description) => {
    const index = Index.factory(d, description);
    index.trainSync(x);
    index.addSync(x, description.includes('IDMap') ? Array.from({ length: 3000 }, (_, i) => i) : undefined);
    const width = 'nprobe' in index.describeSync().parameters ? { nprobe: 4 } : 'efSearch' in index.describeSync().parameters ? { efSearch: 64 } : undefined;
    const options = (i: number) => ({ ...(i % 3 === 0 && width ? { params: width } : {}), ...(i % 5 === 0 && /Flat|SQ|HNSW|PQ/.test(description) ? { filter: { keep: { from: 0, to: 1500 } } } : {}) });
    const k = (i: number) => 1 + (i % 7);
    const together = await Promise.all(Array.from({ length: 400 }, (_, i) => index.search(row(queries, d, i), k(i), options(i))));
    for (let i = 0; i < 400; i++) {
      const alone = index.searchSync(row(queries, d, i), k(i), options(i));
      expect(together[i]!.labels).toEqual(alone.labels);
      alone.distances.forEach((value, j) => expect(Math.abs(together[i]!.distances[j]! - value)).toBeLessThan(1e-4 * Math.max(1, value)));
    }
  });

  it('give what single ones give: bits', async () => {
    const index = BinaryIndex.factory(64, 'BIVF8');
    const bits = clusteredBits(2000, 8, 4);
    index.trainSync(bits);
    index.addSync(bits);
    const together = await Promise.all(Array.from({ length: 300 }, (_, i) => index.search(row(bits, 8, i), 1 + (i % 4), i % 3 === 0 ? { params: { nprobe: 3 } } : {})));
    for (let i = 0; i < 300; i++) expect(together[i]).toEqual(index.searchSync(row(bits, 8, i), 1 + (i % 4), i % 3 === 0 ? { params: { nprobe: 3 } } : {}));
  });
});

describe('close', () => {
  const d = 64;
  const x = seeded(20_000 * d, 5);
  const some = x.slice(0, 500 * d);

  it('ends what was called before a close', async () => {
    const index = Index.factory(d, 'IDMap2,Flat');
    const ids = Array.from({ length: 20_000 }, (_, i) => i);
    const calls = [index.add(x, ids), index.search(some, 1), index.remove(3), index.search(some, 1), index.toBuffer()] as const;
    const closed = index.close();
    const late = failure(index.search(some, 1));
    const [, before, removed, after, bytes] = await Promise.all(calls);
    expect([before.labels[3], removed, after.labels[3] === 3n, bytes.length > x.byteLength - d * 8]).toEqual([3n, 1, false, true]);
    await closed;
    expect(await late).toMatchObject({ code: 'ERR_CLOSED' });
    expect(index.ntotal).toBe(0);
  });
});

describe('onProgress', () => {
  it.each(['IVF64,Flat', 'IVF16,PQ8np', 'PQ8np', 'Flat', 'HNSW8', 'IDMap2,SQ8', 'PCA8,IVF16,SQ8'])('for %s rises to 1 before the end', async (description) => {
    const index = Index.factory(16, description);
    const x = clustered(3000, 16, 6);
    const operations: [string, (onProgress: (fraction: number) => void) => Promise<void>][] = [
      ['train', (onProgress) => index.train(x, { onProgress })],
      ['add', (onProgress) => index.add(x, description.includes('IDMap') ? Array.from({ length: 3000 }, (_, i) => i) : undefined, { onProgress })],
      ['save', (onProgress) => index.save(join(folder, 'progress.index'), { onProgress })],
    ];
    for (const [name, start] of operations) {
      const seen: number[] = [];
      await start((fraction) => seen.push(fraction));
      const count = seen.length;
      expect([name, seen.at(-1)]).toEqual([name, 1]);
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
      expect(seen.every((fraction) => fraction > 0 && fraction <= 1)).toBe(true);
      await index.describe();
      expect(seen).toHaveLength(count); // none after the end
    }
    expect(index.ntotal).toBe(3000);
  });
});

describe('forgotten indexes', () => {
  it('end what they began', async () => {
    const { stdout } = await run(process.execPath, ['--expose-gc', join(__dirname, 'support', 'index-alone.cjs'), 'forgotten']);
    expect(JSON.parse(stdout)).toEqual({ right: 60 });
  });

  it('give their memory back', async () => {
    const { stdout } = await run(process.execPath, ['--expose-gc', join(__dirname, 'support', 'index-alone.cjs'), 'memory']);
    const { held, each } = JSON.parse(stdout) as { held: number; each: number };
    expect(held).toBeLessThan(100 * each); // of 200
  });
});
