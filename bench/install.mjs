// What is packed for a release beside what the set-up built here, in turn, in processes of their own:
// the time from an empty process to a first search, and the time of searches.
//   npm run pack -- main search && npm run bench:install
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inTurn, median, ratio } from './measure.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const tarballs = ['faiss-vision-linux-x64', 'faiss-vision'].map((name) => join(root, 'build/packages', `${name}-${version}.tgz`));
if (!tarballs.every(existsSync)) throw new Error(`${tarballs.join(' or ')} is not there: npm run pack -- main search makes them`);

const trial = mkdtempSync(join(tmpdir(), 'faiss-vision-bench-'));
writeFileSync(join(trial, 'package.json'), '{ "private": true }');
const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
execFileSync('npm', ['install', ...options, ...tarballs], { cwd: trial });
const local = join(trial, 'local');
mkdirSync(join(local, 'node_modules'), { recursive: true });
symlinkSync(root, join(local, 'node_modules', 'faiss-vision'));
writeFileSync(join(local, 'package.json'), '{ "private": true }');

const node = (folder, code) => Number(execFileSync(process.execPath, ['-e', code], { cwd: folder, encoding: 'utf8' }));
const wall = (folder, code) => {
  const start = performance.now();
  execFileSync(process.execPath, ['-e', code], { cwd: folder });
  return performance.now() - start;
};

const FIRST = `const { Ann } = require('faiss-vision/ann'); const ann = new Ann({ dimension: 128, threshold: 0.5 });
  ann.addSync(new Float32Array(128).fill(1)); ann.searchSync(new Float32Array(128).fill(1));`;
const start = await inTurn(
  { empty: async () => wall(trial, ''), installed: async () => wall(trial, FIRST), local: async () => wall(local, FIRST) },
  15,
);
const more = (name) => median(start[name].map((time, i) => time - start.empty[i])).toFixed(0);
console.log(`from an empty Node process to a first search: installed ${more('installed')} ms more, local ${more('local')} ms more`);

const search = (description, queries, repeats) => `
  const { Index } = require('faiss-vision/ann');
  const random = ((state) => () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648 - 0.5)(1);
  const x = Float32Array.from({ length: 20000 * 128 }, random);
  const index = Index.factory(128, '${description}');
  index.trainSync(x); index.addSync(x);
  const q = x.slice(0, ${queries} * 128);
  const times = [];
  for (let i = 0; i < ${repeats}; i++) { const start = performance.now(); index.searchSync(q, 10); times.push(performance.now() - start); }
  console.log(times.sort((a, b) => a - b)[${repeats} >> 1]);`;
for (const [description, queries, repeats] of [['Flat', 1, 200], ['Flat', 500, 15], ['HNSW16', 200, 15], ['IVF128,Flat', 200, 30], ['SQ8', 20, 15]]) {
  const code = search(description, queries, repeats);
  const times = await inTurn({ installed: async () => node(trial, code), local: async () => node(local, code) }, 7, 1);
  console.log(`${description}, ${queries} ${queries === 1 ? 'query' : 'queries'}: installed / local ${ratio(times.installed, times.local).toFixed(3)}`);
}
rmSync(trial, { recursive: true });
