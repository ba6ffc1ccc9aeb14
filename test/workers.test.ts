import { execFile, spawn } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const support = (name: string) => join(__dirname, 'support', name);

/** Megabytes of resident memory after each worker. */
async function endWorkers(worker: string, count: number): Promise<number[]> {
  const { stdout } = await run(process.execPath, [support('ended-workers.cjs'), worker, String(count)]);
  return (JSON.parse(stdout) as number[]).map((bytes) => bytes / 1e6);
}

const mean = (numbers: number[]) => numbers.reduce((a, b) => a + b) / numbers.length;

describe('worker threads that are ended with work in flight', () => {
  it('200 that search: no crash, and memory flat after the first twenty', async () => {
    const resident = await endWorkers('ann-worker.cjs', 200);
    expect(resident).toHaveLength(200);
    expect(mean(resident.slice(-40)) / mean(resident.slice(20, 60))).toBeLessThan(1.2);
  }, 400_000);

  it('200 that look for faces: no crash, and memory flat after the first twenty', async () => {
    const resident = await endWorkers('face-worker.cjs', 200);
    expect(resident).toHaveLength(200);
    expect(mean(resident.slice(-40)) / mean(resident.slice(20, 60))).toBeLessThan(1.2);
  }, 600_000);

  it('40 that look at photos of files: no crash', async () => {
    expect(await endWorkers('photo-worker.cjs', 40)).toHaveLength(40);
  }, 400_000);
});

describe('a process that ends with work in flight', () => {
  // Again and again, since a thread that outlives the libraries it works in crashes only now and then.
  it.each(['ann-worker.cjs', 'face-worker.cjs'])('%s: by process.exit', async (worker) => {
    for (let round = 0; round < 12; round++) {
      const code = `setTimeout(() => process.exit(7), ${60 + 20 * round}); require('node:worker_threads').parentPort ??= { postMessage() {} }; require(${JSON.stringify(support(worker))});`;
      const child = spawn(process.execPath, ['-e', code], { stdio: 'inherit', cwd: __dirname });
      const [status, signal] = await new Promise<[number | null, string | null]>((ended) => child.on('exit', (...end) => ended(end)));
      expect([status, signal]).toEqual([7, null]);
    }
  });
});
