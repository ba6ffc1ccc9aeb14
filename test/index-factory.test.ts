import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';

interface Outcome {
  steps: Record<string, unknown>;
  rss: number;
}

// FAISS's factory takes nearly anything, and some of it ends the process, or never ends, once it is used.
it.each([1, 2])('what hundreds of generated descriptions make can be used or is refused, and the process lives (seed %i)', async (seed) => {
  const child = spawn(process.execPath, [join(__dirname, 'support', 'index-fuzz.cjs'), String(seed), '120'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const limit = setTimeout(() => child.kill('SIGKILL'), 250_000);
  let out = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (errors += text));
  const [status, signal] = await new Promise<[number | null, string | null]>((ended) => child.on('close', (...end) => ended(end)));
  clearTimeout(limit);
  const lines = out.trim().split('\n').map((line) => JSON.parse(line) as { description: string; metric: string } & Outcome);
  const last = lines.findLast(({ description }) => description !== undefined)!;
  const said = errors.split('\n').filter((line) => !line.startsWith('WARNING')).join('\n'); // FAISS's, of few vectors to train with
  expect([status, signal, said], `at '${last.description}' by ${last.metric}, seed ${seed}`).toEqual([0, null, '']);

  const outcomes = lines.filter(({ steps }) => steps !== undefined);
  expect(outcomes).toHaveLength(120);
  const made = outcomes.filter(({ steps }) => steps.make === 'ok');
  expect(made.length).toBeGreaterThan(40); // or nothing is tried
  expect(made.filter(({ steps }) => steps.add === 'ok' || steps.addOther === 'ok').length).toBeGreaterThan(30);
  for (const { steps } of outcomes) for (const outcome of Object.values(steps)) expect(String(outcome)).not.toContain('ERR_INTERNAL');
  expect(Math.max(...outcomes.map(({ rss }) => rss))).toBeLessThan(1500); // megabytes
});
