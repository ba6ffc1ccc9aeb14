// A Python peer in a process of its own: one line in, one line out, so that rounds can alternate with ours.
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { pythonEnvironment } from '../scripts/setup/python.mjs';

function environment(packages, bare) {
  const { python, commands } = pythonEnvironment('bench-python', packages, bare);
  for (const [command, ...args] of commands) {
    const { status } = spawnSync(command, args, { stdio: ['ignore', 2, 2] });
    if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}`);
  }
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
