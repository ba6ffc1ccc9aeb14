// Sets everything up and builds bench.node, which the set-up leaves out, in the same build folder.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setup } from '../scripts/setup.mjs';
import { projectFolder } from '../scripts/setup/paths.mjs';

export async function loadBareFaiss() {
  await setup({ quiet: true });
  const build = join(projectFolder, 'build');
  for (const args of [['-S', projectFolder, '-B', build, '-DFAISS_VISION_BENCH=ON'], ['--build', build, '--target', 'bench']]) {
    const { status, stderr, stdout } = spawnSync('cmake', args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`cmake ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  }
  return createRequire(import.meta.url)(join(build, 'Release', 'bench.node'));
}
