import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { Ann, searchInfo, setThreads } from 'faiss-vision/ann';
import { afterAll, describe, expect, it } from 'vitest';
import { bruteForce, seeded, type Metric } from './support/vectors';

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-ann-'));
afterAll(() => rmSync(folder, { recursive: true }));

const metrics: Metric[] = ['l2', 'cosine'];

describe.each(metrics)('Ann with %s', (metric) => {
  const threshold = metric === 'l2' ? 0.5 : 0.9;

  it('says index -1, not found, where nothing is known', async () => {
    const ann = new Ann({ dimension: 8, threshold, metric });
    expect(await ann.search(seeded(16, 1))).toEqual([
      { found: false, index: -1, score: null, neighbours: [] },
      { found: false, index: -1, score: null, neighbours: [] },
    ]);
    expect(ann.size).toBe(0);
  });

  it('finds every vector again as itself', async () => {
    const ann = new Ann({ dimension: 32, threshold, metric });
    const vectors = seeded(100 * 32, 2);
    expect(await ann.add(vectors)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    const decisions = await ann.search(vectors);
    decisions.forEach((decision, i) => {
      expect(decision.index).toBe(i);
      expect(decision.found).toBe(true);
      expect(decision.score).toBeCloseTo(metric === 'l2' ? 0 : 1, 5);
    });
  });

  // 1 and 50 queries: FAISS computes few and many in different ways.
  it.each([1, 50])('agrees with brute force for %i queries at once, all k neighbours in order', async (n) => {
    const d = 24;
    const k = 7;
    const vectors = seeded(300 * d, 3);
    const known = new Map(Array.from({ length: 300 }, (_, i) => [i * 3 + 1, vectors.subarray(i * d, (i + 1) * d)]));
    const ann = new Ann({ dimension: d, threshold, metric, k });
    await ann.add(vectors, [...known.keys()]);
    const queries = seeded(n * d, 4);
    const decisions = await ann.search(queries);
    expect(ann.searchSync(queries)).toEqual(decisions);
    decisions.forEach((decision, i) => {
      const expected = bruteForce(known, queries.subarray(i * d, (i + 1) * d), metric).slice(0, k);
      expect(decision.neighbours.map((neighbour) => neighbour.index)).toEqual(expected.map((neighbour) => neighbour.index));
      decision.neighbours.forEach((neighbour, j) => expect(neighbour.score).toBeCloseTo(expected[j]!.score, 4));
      expect(decision.index).toBe(expected[0]!.index);
      expect(decision.found).toBe(metric === 'l2' ? expected[0]!.score < threshold : expected[0]!.score > threshold);
    });
  });

  it('decides by the threshold itself, not by half of it or its square', async () => {
    const query = Float32Array.of(1, 0);
    // Distances 1.9 and 2.1; similarities 0.8 and 0.6.
    const near = metric === 'l2' ? Float32Array.of(1, 1.9) : Float32Array.of(0.8, 0.6);
    const far = metric === 'l2' ? Float32Array.of(1, 2.1) : Float32Array.of(0.6, 0.8);
    for (const [vector, found] of [[near, true], [far, false]] as const) {
      const ann = new Ann({ dimension: 2, threshold: metric === 'l2' ? 2 : 0.7, metric });
      await ann.add(vector);
      expect((await ann.search(query))[0]!.found).toBe(found);
    }
  });

  it('returns what is there when k is beyond it', async () => {
    const ann = new Ann({ dimension: 4, threshold, metric, k: 10 });
    await ann.add(seeded(12, 5));
    const [decision] = await ann.search(seeded(4, 6));
    expect(decision!.neighbours.map(({ index }) => index).sort()).toEqual([0, 1, 2]);
  });

  it('forgets erased ids and keeps the others valid', async () => {
    const d = 16;
    const ann = new Ann({ dimension: d, threshold, metric });
    const vectors = seeded(10 * d, 7);
    await ann.add(vectors, [100, 101, 102, 103, 104, 105, 106, 107, 108, 109]);
    expect(await ann.erase([100, 105, 999, 109])).toBe(3);
    expect(ann.size).toBe(7);
    const left = (await ann.search(vectors)).map(({ index }) => index);
    for (const [i, id] of left.entries()) {
      if (![0, 5, 9].includes(i)) expect(id).toBe(100 + i);
      else expect([100, 105, 109]).not.toContain(id);
    }
    expect(await ann.erase(100)).toBe(0);
    expect(await ann.add(seeded(d, 8), 100)).toEqual([100]);
    expect(await ann.add(seeded(d, 9))).toEqual([110]); // after the largest ever used
  });

  it('loses nothing by a refused add', async () => {
    const ann = new Ann({ dimension: 4, threshold, metric });
    const first = seeded(8, 10);
    await ann.add(first, [5, 6]);
    const bad = seeded(12, 11);
    bad[9] = NaN;
    await expect(ann.add(bad)).rejects.toMatchObject({ code: 'ERR_NOT_FINITE', message: expect.stringContaining('vector 2 has NaN at position 1') });
    await expect(ann.add(seeded(8, 12), [7, 6])).rejects.toMatchObject({ code: 'ERR_DUPLICATE_ID' });
    await expect(ann.add(seeded(8, 12), [8, 8])).rejects.toMatchObject({ code: 'ERR_DUPLICATE_ID', message: expect.stringContaining('comes twice') });
    expect(ann.size).toBe(2);
    expect((await ann.search(first)).map(({ index }) => index)).toEqual([5, 6]);
    expect(await ann.add(seeded(8, 12), [7, 8])).toEqual([7, 8]); // what was refused left no trace
  });

  it('is the same index after save and load', async () => {
    const path = join(folder, `${metric}.index`);
    const ann = new Ann({ dimension: 12, threshold, metric, k: 3 });
    const vectors = seeded(40 * 12, 13);
    await ann.add(vectors);
    await ann.erase([3, 39]);
    await ann.save(path);
    const again = await Ann.load(path);
    expect(again).toMatchObject({ dimension: 12, metric, k: 3, size: 38, threshold });
    expect(await again.search(vectors)).toEqual(await ann.search(vectors));
    expect(await again.add(seeded(12, 14))).toEqual([40]);
    expect(readdirSync(folder).filter((name) => name.includes('.tmp'))).toEqual([]);
  });

  it('does what a plain model of it does, whatever the order of operations', async () => {
    const d = 5;
    const operation = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), count: fc.integer({ min: 1, max: 30 }), seed: fc.nat() }),
      fc.record({ kind: fc.constant('addIds' as const), ids: fc.array(fc.nat({ max: 60 }), { minLength: 1, maxLength: 5 }), seed: fc.nat() }),
      fc.record({ kind: fc.constant('erase' as const), ids: fc.array(fc.nat({ max: 60 }), { maxLength: 8 }) }),
      fc.record({ kind: fc.constant('search' as const), count: fc.integer({ min: 1, max: 25 }), seed: fc.nat() }),
      fc.record({ kind: fc.constant('clear' as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 25 }), async (operations) => {
        const ann = new Ann({ dimension: d, threshold, metric, k: 4 });
        const known = new Map<number, Float32Array>();
        let next = 0;
        for (const step of operations) {
          if (step.kind === 'add' || step.kind === 'addIds') {
            const ids = step.kind === 'addIds' ? step.ids : Array.from({ length: step.count }, (_, i) => next + i);
            const vectors = seeded(ids.length * d, step.seed);
            const added = ann.add(vectors, step.kind === 'addIds' ? ids : undefined);
            if (new Set(ids).size < ids.length || ids.some((id) => known.has(id))) {
              await expect(added).rejects.toMatchObject({ code: 'ERR_DUPLICATE_ID' });
              continue;
            }
            expect(await added).toEqual(ids);
            ids.forEach((id, i) => known.set(id, vectors.slice(i * d, (i + 1) * d)));
            next = Math.max(next, ...ids.map((id) => id + 1));
          } else if (step.kind === 'erase') {
            const ids = new Set(step.ids);
            expect(await ann.erase(step.ids)).toBe([...ids].filter((id) => known.delete(id)).length);
          } else if (step.kind === 'clear') {
            await ann.clear();
            known.clear();
          } else {
            const queries = seeded(step.count * d, step.seed);
            (await ann.search(queries)).forEach((decision, i) => {
              const query = queries.subarray(i * d, (i + 1) * d);
              const expected = bruteForce(known, query, metric).slice(0, 4);
              expect(decision.neighbours).toHaveLength(expected.length);
              // By score, since equal vectors (the seeds repeat) may come in any order.
              decision.neighbours.forEach((neighbour, j) => {
                expect(Math.abs(neighbour.score - expected[j]!.score)).toBeLessThan(1e-4);
                expect(bruteForce(new Map([[0, known.get(neighbour.index)!]]), query, metric)[0]!.score).toBeCloseTo(neighbour.score, 4);
              });
            });
          }
          expect(ann.size).toBe(known.size);
        }
        await ann.close();
      }),
      { numRuns: 300 },
    );
  });
});

describe('Ann', () => {
  it('scores a photo compared with itself the same, alone and among a thousand', async () => {
    const d = 128;
    const vectors = seeded(1000 * d, 20);
    const ann = new Ann({ dimension: d, threshold: 1, metric: 'l2' });
    await ann.add(vectors);
    const many = await ann.search(vectors);
    const one = await ann.search(vectors.slice(0, d));
    expect(one[0]).toEqual(many[0]);
    expect(many.every(({ score }) => score === 0)).toBe(true);
  });

  it('keeps directions apart that overflow or vanish when squared in single precision', async () => {
    const ann = new Ann({ dimension: 2, threshold: 0.99 });
    await ann.add(Float32Array.of(1e30, 0, 0, 1e30, 1e-30, 1e-30));
    const [x, y, both] = await ann.search(Float32Array.of(1e-25, 0, 0, 1e25, 1e20, 1e20));
    expect([x!.index, y!.index, both!.index]).toEqual([0, 1, 2]);
    expect(both!.score).toBeCloseTo(1, 6);
  });

  it('does operations in the order of their calls, awaited or not', async () => {
    const ann = new Ann({ dimension: 2, threshold: 0.1, metric: 'l2' });
    const at = (x: number) => Float32Array.of(x, 0);
    const results = await Promise.all([
      ann.search(at(1)), ann.add(at(1)), ann.search(at(1)), ann.erase(0), ann.search(at(1)), ann.add(at(1)), ann.search(at(1)),
    ]);
    expect([results[0], results[2], results[4], results[6]].map((r) => (r as { index: number }[])[0]!.index)).toEqual([-1, 0, -1, 1]);
    void ann.add(at(2));
    expect(ann.searchSync(at(2))[0]!.index).toBe(2); // a synchronous call waits its turn
  });

  it('answers a thousand searches at once, each with its own answer', async () => {
    const d = 64;
    const vectors = seeded(1000 * d, 21);
    const ann = new Ann({ dimension: d, threshold: 0.9 });
    ann.addSync(vectors);
    const answers = await Promise.all(Array.from({ length: 1000 }, (_, i) => ann.search(vectors.slice(i * d, (i + 1) * d))));
    expect(answers.map(([decision]) => decision!.index)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  });

  it('leaves the event loop free while it works', async () => {
    const d = 256;
    const ann = new Ann({ dimension: d, threshold: 0.9 });
    await ann.add(seeded(20_000 * d, 22));
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await ann.search(seeded(3000 * d, 23));
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(5);
  });

  it('frees its memory at close, after what was called before', async () => {
    const ann = new Ann({ dimension: 4, threshold: 0.9 });
    const added = ann.add(seeded(8, 24));
    const closed = ann.close();
    await expect(ann.search(seeded(4, 24))).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    expect(await added).toEqual([0, 1]);
    await closed;
    expect(ann.size).toBe(0);
    await expect(ann.close()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    expect(() => ann.addSync(seeded(4, 24))).toThrowError(expect.objectContaining({ code: 'ERR_CLOSED' }));
  });

  it('takes one thread setting for all', () => {
    const { threads } = searchInfo();
    setThreads(1);
    expect(searchInfo().threads).toBe(1);
    setThreads(threads);
    for (const wrong of [0, -1, 1.5, NaN, 5000, '2' as unknown as number]) {
      expect(() => setThreads(wrong)).toThrowError(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
    }
  });

  it('uses kernels for AVX-512 where the processor has it, whatever OPENBLAS_CORETYPE says', () => {
    const flags = readFileSync('/proc/cpuinfo', 'utf8');
    const { blasKernels } = searchInfo();
    expect(blasKernels).not.toBe('');
    if (['f', 'dq', 'bw', 'vl', 'cd'].every((extension) => flags.includes(`avx512${extension}`))) {
      expect(blasKernels).toMatch(/SkylakeX|Cooperlake|SapphireRapids/);
    }
  });

  it('refuses files that were cut, changed or are of another kind', async () => {
    const path = join(folder, 'damaged.index');
    const ann = new Ann({ dimension: 8, threshold: 0.5 });
    await ann.add(seeded(80, 30));
    await ann.save(path);
    const whole = readFileSync(path);
    const attempt = async (bytes: Uint8Array) => {
      writeFileSync(path, bytes);
      await expect(Ann.load(path)).rejects.toMatchObject({ code: 'ERR_INDEX_CORRUPT', message: expect.stringContaining(path) });
    };
    for (const length of [0, 1, 31, 32, 100, whole.length >> 1, whole.length - 1]) await attempt(whole.subarray(0, length));
    for (let at = 0; at < whole.length; at += 3) {
      const changed = Buffer.from(whole);
      changed[at]! ^= 1 << at % 8;
      await attempt(changed);
    }
    await attempt(Buffer.concat([whole, Buffer.alloc(1)]));
    await attempt(Buffer.from('just text, and quite a bit longer than the trailer of an index'));
    writeFileSync(path, whole);
    expect((await Ann.load(path)).size).toBe(10);
    await expect(Ann.load(join(folder, 'missing'))).rejects.toMatchObject({ code: 'ERR_FILE_NOT_FOUND' });
    await expect(Ann.load(folder)).rejects.toMatchObject({ code: 'ERR_FILE_READ' });
    await expect(ann.save(join(folder, 'no', 'such', 'folder'))).rejects.toMatchObject({ code: 'ERR_FILE_WRITE' });
    await expect(ann.save('a\0b')).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
  });
});
