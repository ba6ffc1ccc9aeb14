import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder, downloadsFolder } from '../../lib/models/cache';
import { ensurePackage } from '../../lib/models/fetch';
import type { SourcePackage } from '../../lib/models/manifest';

export const root = join(__dirname, '../..');
const alias = join(root, 'packages/faiss-node');

const FAISS_NODE: SourcePackage = {
  client: 'npm',
  name: 'faiss-node',
  version: '0.5.1',
  license: 'MIT',
  files: [
    { path: 'test/Index.test.js', size: 1077, sha256: '72c1e3d99218ada7576fad9e8576ad498162fcb47b422df2f1d301d67ccfdcf7' },
    { path: 'test/IndexFlatL2.test.js', size: 9167, sha256: '6312f36e00e463c0378d4c85cdcd167891ba346b4ebb310265a9495047bb7658' },
  ],
};

/** What is not there, in words, where the registry cannot be reached and the cache does not have it. */
export interface Missing {
  missing: string;
}

const missing = (what: string, error: unknown): Missing => ({
  missing: `${what} could not be fetched: ${error instanceof Error ? error.message : String(error)}`,
});

/** faiss-node's own test files, unchanged, in a folder where `require('../lib')` is the drop-in. */
export async function faissNodeTests(): Promise<{ folder: string; files: string[] } | Missing> {
  let fetched: string;
  try {
    fetched = await ensurePackage(FAISS_NODE, downloadsFolder(), () => {});
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_MODEL_DOWNLOAD') throw error;
    return missing('faiss-node 0.5.1', error);
  }
  const folder = mkdtempSync(join(tmpdir(), 'faiss-node-tests-'));
  cpSync(join(fetched, 'test'), join(folder, 'test'), { recursive: true });
  for (const part of ['lib', 'node_modules']) mkdirSync(join(folder, part));
  writeFileSync(join(folder, 'lib/index.js'), `module.exports = require('faiss-vision/faiss-node');\n`);
  symlinkSync(root, join(folder, 'node_modules/faiss-vision'));
  return { folder, files: FAISS_NODE.files.map(({ path }) => join(folder, path)) };
}

/** The package that programs install under the name faiss-node, packed into `folder`. */
export function packAlias(folder: string): string {
  const [packed] = JSON.parse(execFileSync('npm', ['pack', alias, '--json', '--pack-destination', folder], { encoding: 'utf8', stdio: 'pipe' }));
  return join(folder, (packed as { filename: string }).filename);
}

/** A `require` of a project in the cache that has LangChain, this package, and the drop-in as its faiss-node. */
export async function langChain(): Promise<NodeJS.Require | Missing> {
  const dependencies: Record<string, string> = { '@langchain/community': '1.1.29', '@langchain/core': '1.4.0' };
  const contents = readdirSync(alias).map((file) => readFileSync(join(alias, file), 'utf8'));
  const key = createHash('sha256').update(JSON.stringify([dependencies, contents, root])).digest('hex').slice(0, 8);
  const folder = join(cacheFolder(), `test-langchain-${key}`);
  if (!existsSync(join(folder, 'ready'))) {
    const run = promisify(execFile);
    try {
      // Asked first, so that only a registry that does not answer is a reason to skip, and a failed installation is none.
      for (const [name, version] of Object.entries(dependencies)) await run('npm', ['view', `${name}@${version}`, 'version', '--fetch-retries=0']);
    } catch (error) {
      return missing('LangChain', error);
    }
    mkdirSync(folder, { recursive: true });
    const packed = packAlias(folder);
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies: { ...dependencies, 'faiss-vision': `file:${root}`, 'faiss-node': `file:${packed}` } }));
    // Not the peers that npm would add: the drivers of other stores.
    await run('npm', ['install', '--ignore-scripts', '--legacy-peer-deps', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder });
    writeFileSync(join(folder, 'ready'), '');
  }
  return createRequire(join(folder, 'package.json'));
}

/** A Python that has faiss: of the benchmarks' environments in the cache, or the machine's. */
export function pythonWithFaiss(): string | undefined {
  const environments = existsSync(cacheFolder()) ? readdirSync(cacheFolder()).filter((name) => name.startsWith('bench-python-')) : [];
  const candidates = [...environments.map((name) => join(cacheFolder(), name, 'bin/python')).filter((path) => existsSync(path)), 'python3'];
  return candidates.find((python) => {
    try {
      execFileSync(python, ['-c', 'import faiss'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  });
}

export const remove = (folder: string) => rmSync(folder, { recursive: true, force: true });
