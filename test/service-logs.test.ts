import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { LogsConfig } from '../packages/service/dist/config/schema.js';
import { openLogs } from '../packages/service/dist/logs.js';
import { until } from './support/wait.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'faiss-vision-logs-'))));
afterEach(() => {
  vi.useRealTimers();
  rmSync(folder, { recursive: true });
});

const open = (more: Partial<LogsConfig> = {}) => openLogs({ level: 'info', folder, size: '10m', every: 'daily', files: 3, names: false, ...more });
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
/** Midday of a day to come, as files that are made now are not of that day. */
const day = (text: string) => vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'], now: new Date(`2099-${text}T12:00`) });

/** Writes until the file of this name is there; a new one begins between two lines. */
async function fill(log: Awaited<ReturnType<typeof open>>, name: string): Promise<void> {
  while (!existsSync(join(folder, name))) {
    log.info({ filler: 'x'.repeat(300) });
    await new Promise((resolve) => setImmediate(resolve));
  }
}
const cleaned = (count: number) => until('the oldest are removed', () => readdirSync(folder).length <= count);

it('a new file begins at a size, and only the newest are kept, after a restart on another day too', async () => {
  day('03-02');
  const first = await open({ size: '1k' });
  await fill(first, 'faiss-vision.2099-03-02.7.log');
  vi.useRealTimers();
  await cleaned(3);
  const kept = [5, 6, 7].map((i) => `faiss-vision.2099-03-02.${i}.log`);
  expect(readdirSync(folder)).toEqual(kept);
  day('03-03');
  const second = await open({ size: '1k' });
  await fill(second, 'faiss-vision.2099-03-03.2.log');
  second.info('the newest');
  vi.useRealTimers();
  await cleaned(3);
  expect(readdirSync(folder)).toEqual([kept[2], 'faiss-vision.2099-03-03.1.log', 'faiss-vision.2099-03-03.2.log']);
  expect(read('faiss-vision.2099-03-03.2.log')).toContain('the newest');
});

it.each([
  ['daily', 12 * 60, 'faiss-vision.2099-03-02.1.log', 'faiss-vision.2099-03-03.1.log'],
  ['hourly', 60, 'faiss-vision.2099-03-02-12.1.log', 'faiss-vision.2099-03-02-13.1.log'],
] as const)('a new file begins %s', async (every, minutes, before, after) => {
  day('03-02');
  const log = await open({ every });
  log.info('before');
  await vi.advanceTimersByTimeAsync((minutes - 1) * 60_000);
  expect(readdirSync(folder)).toEqual([before]);
  await vi.advanceTimersByTimeAsync(60_000);
  vi.useRealTimers();
  await until('the next file is there', () => existsSync(join(folder, after)));
  log.info('after');
  expect([read(before), read(after)]).toEqual([expect.stringContaining('before'), expect.stringMatching(/^[^\n]*"after"[^\n]*\n$/)]);
});

it('has no features, no tokens, and names where they are asked for alone', async () => {
  const line = { person: { id: 'a', name: 'Ada Lovelace' }, features: [1.2345], face: { features: [6.789] }, authorization: 'Bearer secret' };
  for (const names of [false, true]) {
    const quiet = join(folder, String(names));
    (await open({ folder: quiet, names })).info(line, 'event');
    const text = readFileSync(join(quiet, readdirSync(quiet)[0]!), 'utf8');
    expect(text).toContain('"id":"a"');
    for (const secret of ['1.2345', '6.789', 'secret']) expect(text).not.toContain(secret);
    expect(text.includes('Lovelace')).toBe(names);
  }
});

it.skipIf(!existsSync('/dev/full'))('a full disk is told of once, and ends nothing', async () => {
  day('03-02');
  mkdirSync(folder, { recursive: true });
  symlinkSync('/dev/full', join(folder, 'faiss-vision.2099-03-02.1.log'));
  const told = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  try {
    const log = await open();
    for (let i = 0; i < 3; i++) log.info('a line');
    expect(told.mock.calls).toEqual([[expect.stringMatching(/^faiss-vision: the log cannot be written: ENOSPC/)]]);
  } finally {
    told.mockRestore();
  }
});
