// A Python peer in a process of its own: one line in, one line out, so that rounds can alternate with ours.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { cacheFolder } from '../scripts/setup/paths.mjs';

/**
 * A virtual environment in the cache with these packages from PyPI, made once.
 * @param bare packages that go without what they ask for: some ask for an old release of what is to be measured
 */
function environment(packages, bare) {
  const folder = join(cacheFolder(), `bench-python-${createHash('sha256').update([...packages, ...bare].join()).digest('hex').slice(0, 8)}`);
  const python = join(folder, 'bin/python');
  if (existsSync(join(folder, 'ready'))) return python;
  const run = (command, ...args) => {
    const { status } = spawnSync(command, args, { stdio: ['ignore', 2, 2] });
    if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}`);
  };
  run('python3', '-m', 'venv', folder);
  run(python, '-m', 'pip', 'install', '-q', ...packages);
  if (bare.length > 0) run(python, '-m', 'pip', 'install', '-q', '--no-deps', ...bare);
  run('touch', join(folder, 'ready'));
  return python;
}

export function pythonPeer(script, packages, { bare = [], args = [] } = {}) {
  // The peer at its best. A wheel's OpenBLAS may be older than the processor and take it for one without AVX, and the
  // machine's environment may force another choice: with AVX-512 the kernels that ours has are asked for by name.
  const { OPENBLAS_CORETYPE, ...rest } = process.env;
  const env = readFileSync('/proc/cpuinfo', 'utf8').includes('avx512vl') ? { ...rest, OPENBLAS_CORETYPE: 'SkylakeX' } : rest;
  const child = spawn(environment(packages, bare), [script, ...args], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(command) {
      child.stdin.write(`${JSON.stringify(command)}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error(`${script} ended`);
      return JSON.parse(value);
    },
    end: () => child.stdin.end(),
  };
}
