// Sets everything up and builds what the set-up leaves out, in the same build folder.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setup } from '../scripts/setup.mjs';
import { projectFolder } from '../scripts/setup/paths.mjs';

export async function loadBareFaiss() {
  return createRequire(import.meta.url)(join(await buildBench('bench'), 'Release', 'bench.node'));
}

/** Builds a target of bench/native; gives back the build folder. */
export async function buildBench(target) {
  await setup({ quiet: true });
  const build = join(projectFolder, 'build');
  for (const args of [['-S', projectFolder, '-B', build, '-DFAISS_VISION_BENCH=ON'], ['--build', build, '--target', target]]) {
    const { status, stderr, stdout } = spawnSync('cmake', args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`cmake ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  }
  return build;
}
