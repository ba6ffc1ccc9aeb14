import { spawnSync } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Index } from 'faiss-vision/ann';
import { describe, expect, it } from 'vitest';
import { seeded } from './support/vectors';

const d = 16;
const vectors = seeded(20_000 * d, 3);
const query = (i: number) => vectors.slice(i * d, (i + 1) * d);
const coded = (code: string) => expect.objectContaining({ code });

async function filled(options = {}): Promise<Index> {
  const index = Index.factory(d, 'Flat', options);
  await index.add(vectors);
  return index;
}

/** Something to wait behind: the queue is busy until the returned promise settles. */
const busy = (index: Index) => index.search(vectors.subarray(0, 4000 * d), 50);

/** Waits until nothing waits: what was called last runs. */
async function running(index: Index): Promise<void> {
  while (index.queue > 0) await new Promise(setImmediate);
}

describe('searches that wait', () => {
  it('are answered as if each were alone, whatever their k', async () => {
    const index = await filled();
    const long = busy(index);
    const ks = [1, 5, 10];
    const together = await Promise.all(Array.from({ length: 300 }, (_, i) => index.search(query(i), ks[i % 3]!)));
    await long;
    for (let i = 0; i < 300; i++) {
      const alone = await index.search(query(i), ks[i % 3]!);
      expect(together[i]!.labels).toEqual(alone.labels);
      alone.distances.forEach((distance, j) => expect(together[i]!.distances[j]).toBeCloseTo(distance, 4));
    }
    await index.close();
  });

  it('that are refused spoil no other', async () => {
    const index = await filled();
    const long = busy(index);
    const settled = await Promise.allSettled(
      Array.from({ length: 60 }, (_, i) => {
        if (i % 20 === 7) return index.search(query(i).fill(NaN, 3, 4), 1);
        if (i % 20 === 9) return index.search(query(i).subarray(1), 1);
        if (i % 20 === 11) return index.search(query(i), 0);
        return index.search(query(i), 1);
      }),
    );
    await long;
    settled.forEach((result, i) => {
      const codes: Record<number, string> = { 7: 'ERR_NOT_FINITE', 9: 'ERR_DIMENSION_MISMATCH', 11: 'ERR_INVALID_ARGUMENT' };
      const code = codes[i % 20];
      if (code === undefined) expect(result.status === 'fulfilled' && Number(result.value.labels[0])).toBe(i);
      else expect(result).toEqual({ status: 'rejected', reason: coded(code) });
    });
    await index.close();
  });

  it('see every change that was called before, and none that was called after', async () => {
    const index = await filled();
    const long = busy(index);
    const far = new Float32Array(d).fill(50);
    const before = index.search(far, 1);
    void index.add(far);
    const between = index.search(far, 1);
    void index.remove(20_000);
    const after = index.search(far, 1);
    expect(Number((await before).labels[0])).toBeLessThan(20_000);
    expect(Number((await between).labels[0])).toBe(20_000);
    expect(Number((await after).labels[0])).toBeLessThan(20_000);
    await long;
    await index.close();
  });
});

describe('the limit of the queue', () => {
  it('rejects what is too many at once, and takes more when there is room again', async () => {
    const index = await filled({ queueLimit: 3 });
    expect(index.queueLimit).toBe(3);
    const long = busy(index);
    await running(index);
    const calls = Array.from({ length: 8 }, (_, i) => index.search(query(i), 1));
    expect(index.queue).toBe(3);
    const settled = await Promise.allSettled(calls);
    const rejected = settled.filter(({ status }) => status === 'rejected');
    expect(rejected).toHaveLength(5);
    for (const each of rejected) expect(each).toMatchObject({ reason: { code: 'ERR_QUEUE_FULL' } });
    await long;
    expect(index.queue).toBe(0);
    expect((await index.search(query(5), 1)).labels[0]).toBe(5n);
    index.queueLimit = Infinity;
    await Promise.all(Array.from({ length: 8 }, (_, i) => index.search(query(i), 1)));
    await index.close();
  });

  it('keeps nobody from closing', async () => {
    const index = await filled({ queueLimit: 1 });
    const calls = [busy(index), index.search(query(1), 1), index.search(query(2), 1)];
    const closed = index.close();
    await Promise.allSettled(calls);
    await closed;
    await expect(index.search(query(0), 1)).rejects.toThrowError(coded('ERR_CLOSED'));
  });

  it.each([0, -1, 1.5, NaN, '3', null])('refuses %s', async (limit) => {
    expect(() => Index.factory(d, 'Flat', { queueLimit: limit as number })).toThrowError(coded('ERR_INVALID_ARGUMENT'));
    const index = Index.factory(d, 'Flat');
    expect(() => (index.queueLimit = limit as number)).toThrowError(coded('ERR_INVALID_ARGUMENT'));
    expect(index.queueLimit).toBe(Infinity);
  });
});

describe('an AbortSignal', () => {
  it('takes a waiting search out of the queue', async () => {
    const index = await filled();
    const long = busy(index);
    await running(index);
    void index.set('nope', 1).catch(() => undefined); // not a search: what waits behind it stays waiting
    const controller = new AbortController();
    const search = index.search(query(1), 1, { signal: controller.signal });
    const range = index.rangeSearch(query(1), 1, { signal: controller.signal });
    const waiting = index.queue;
    controller.abort(new Error('enough'));
    expect(index.queue).toBe(waiting - 2);
    await expect(search).rejects.toThrow('enough');
    await expect(range).rejects.toThrow('enough');
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
    await long;
    await index.close();
  });

  it('rejects at once what it aborts beforehand or in the middle, and nothing afterwards', async () => {
    const index = await filled();
    await expect(index.search(query(1), 1, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });

    const middle = new AbortController();
    const search = index.search(vectors.subarray(0, 4000 * d), 50, { signal: middle.signal });
    await running(index);
    middle.abort();
    await expect(search).rejects.toMatchObject({ name: 'AbortError' });

    const late = new AbortController();
    const found = await index.search(query(4), 1, { signal: late.signal });
    expect(getEventListeners(late.signal, 'abort')).toHaveLength(0);
    late.abort();
    expect(found.labels[0]).toBe(4n);
    await index.close();
  });
});

describe('progress', () => {
  it('comes in order, ends in 1, and before the promise', async () => {
    const path = join(tmpdir(), `faiss-vision-progress-${process.pid}`);
    const index = Index.factory(d, 'IVF16,SQ8');
    const seen: Record<string, number[]> = { train: [], add: [], save: [] };
    const note = (what: string) => ({ onProgress: (fraction: number) => void seen[what]!.push(fraction) });
    await index.train(vectors, note('train'));
    await index.add(vectors, undefined, note('add'));
    await index.save(path, note('save'));
    for (const fractions of Object.values(seen)) {
      expect(fractions.at(-1)).toBe(1);
      expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
      expect(fractions.every((fraction) => fraction >= 0 && fraction <= 1)).toBe(true);
    }
    rmSync(path);
    const counts = JSON.stringify(seen);
    await index.close();
    expect(JSON.stringify(seen)).toBe(counts);
  });

  it('that throws is an uncaught exception, and the operation ends all the same', () => {
    const code = `const { Index } = require('faiss-vision/ann');
      let uncaught = 0;
      process.on('uncaughtException', () => uncaught++);
      const index = Index.factory(4, 'Flat');
      index.add(new Float32Array(400000), undefined, { onProgress() { throw new Error('mine'); } })
        .then(() => console.log(index.ntotal, uncaught > 0));`;
    const { stdout } = spawnSync(process.execPath, ['-e', code], { encoding: 'utf8', cwd: `${__dirname}/..`, timeout: 200_000 });
    expect(stdout.trim()).toBe('100000 true');
  });
});

it('results stay right though nobody holds on to what was passed in', () => {
  const code = `const { Index } = require('faiss-vision/ann');
    (async () => {
      const d = 64, index = Index.factory(d, 'Flat');
      await index.add(Float32Array.from({ length: 3000 * d }, (_, i) => Math.sin(i)));
      let right = 0;
      for (let round = 0; round < 20; round++) {
        const all = Array.from({ length: 50 }, (_, j) => index.search(Float32Array.from({ length: 300 * d }, (_, i) => Math.sin(i + j * d)), 1));
        gc();
        for (const [j, { labels }] of (await Promise.all(all)).entries()) if (labels.every((label, i) => Number(label) === i + j)) right++;
        gc();
      }
      console.log(right);
    })();`;
  const { stdout } = spawnSync(process.execPath, ['--expose-gc', '-e', code], { encoding: 'utf8', cwd: `${__dirname}/..`, timeout: 200_000 });
  expect(stdout.trim()).toBe('1000');
});

it('the event loop goes on while an index works', async () => {
  const index = await filled();
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  for (let i = 0; i < 5; i++) await busy(index);
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(5);
  await index.close();
});
