import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { BinaryIndex, Index, type IndexHandle, type SearchResult } from 'faiss-vision/ann';
import { describe, expect, it } from 'vitest';
import { bruteForce, seeded } from './support/vectors';

const sharing = (what: string) =>
  JSON.parse(execFileSync(process.execPath, ['--expose-gc', resolve(__dirname, 'support/index-sharing.cjs'), what], { encoding: 'utf8' })) as Record<string, number>;

describe('an index that threads share', () => {
  it('eight workers search it at once, and each answer is the brute-force one', async () => {
    const d = 24;
    const n = 1000;
    const k = 7;
    const x = seeded(n * d, 1);
    const index = Index.factory(d, 'Flat');
    await index.add(x);
    const known = new Map(Array.from({ length: n }, (_, i) => [i, x.subarray(i * d, (i + 1) * d)]));

    await Promise.all(
      Array.from({ length: 8 }, async (_, w) => {
        const queries = seeded(50 * d, 100 + w);
        const worker = new Worker(resolve(__dirname, 'support/index-worker.cjs'), {
          workerData: { handle: index.share(), task: { name: 'search', queries, k } },
        });
        const ended = new Promise((done) => worker.once('exit', done));
        const found = await new Promise<SearchResult[]>((done, failed) => worker.once('message', done).once('error', failed));
        found.forEach(({ labels, distances }, i) => {
          const expected = bruteForce(known, queries.subarray(i * d, (i + 1) * d), 'l2').slice(0, k);
          expect(Array.from(labels, Number)).toEqual(expected.map(({ index }) => index));
          expected.forEach(({ score }, j) => expect(distances[j]).toBeCloseTo(score ** 2, 4));
        });
        await ended;
      }),
    );
    expect(index.ntotal).toBe(n);
    await index.close();
  });

  it('a worker on an index of 200 MB adds less than 5 MB to what any worker takes', () => {
    const { own, attached } = sharing('memory');
    expect(attached! - own!).toBeLessThan(5e6);
  });

  it('workers that end in the middle of their work leave it whole', () => {
    expect(sharing('ending')).toEqual({ answers: 100 });
  });

  it('is one: what one opening adds the other finds, in the order of the calls', async () => {
    const a = Index.factory(2, 'Flat');
    const b = Index.attach(a.share());
    expect(a.share()).toEqual(b.share());
    void a.add(Float32Array.of(1, 2));
    const found = await b.search(Float32Array.of(1, 2), 1);
    expect(found.labels[0]).toBe(0n);
    expect(b.ntotal).toBe(1);
  });

  it('lives until each that opened it has closed it', async () => {
    const a = Index.factory(2, 'Flat');
    const handle = a.share();
    const b = Index.attach(handle);
    await a.add(Float32Array.of(1, 2));
    await a.close();
    await expect(a.search(Float32Array.of(1, 2), 1)).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    const c = Index.attach(handle);
    expect((await b.search(Float32Array.of(1, 2), 1)).labels[0]).toBe(0n);
    await b.close();
    expect((await c.search(Float32Array.of(1, 2), 1)).labels[0]).toBe(0n);
    await c.close();
    expect(() => Index.attach(handle)).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  });

  it('wants a handle of its own kind', () => {
    const binary = BinaryIndex.factory(8, 'BFlat').share();
    for (const handle of [binary, null, undefined, 5, 'x', {}, { faissVision: 'Index' }, { faissVision: 'Index', key: 3 }]) {
      expect(() => Index.attach(handle as IndexHandle)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
    }
    expect(() => Index.attach({ faissVision: 'Index', key: 'f'.repeat(32) })).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  });
});
