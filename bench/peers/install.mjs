// The peers' npm packages, in the cache: no part of this project's own dependencies, installed where first asked for.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { cacheFolder, nodeHeaders } from '../../scripts/setup/paths.mjs';

const manifest = readFileSync(new URL('package.json', import.meta.url));

/** The version that is measured. */
export const peerVersion = (name) => JSON.parse(manifest).dependencies[name];

/** A `require` that finds the packages named in package.json here. Installs them once, with npm. */
export function requirePeers() {
  const folder = join(cacheFolder(), `bench-node-${createHash('sha256').update(manifest).digest('hex').slice(0, 8)}`);
  if (!existsSync(join(folder, 'ready'))) {
    process.stderr.write("installing the peers' npm packages\n");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), manifest);
    npm(folder, {}, 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error');
    // Compiled where it is installed, while usearch brings its addon along; for this processor, as FAISS is.
    npm(folder, { CXXFLAGS: '-march=native' }, 'rebuild', 'hnswlib-node', '--loglevel=error');
    writeFileSync(join(folder, 'ready'), '');
  }
  return createRequire(join(folder, 'package.json'));
}

function npm(folder, variables, ...args) {
  const env = { ...process.env, ...variables, ...nodeHeaders() };
  const { status, error } = spawnSync('npm', args, { cwd: folder, env, stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error(`npm ${args.join(' ')} in ${folder} ended with ${status}`, { cause: error });
}
