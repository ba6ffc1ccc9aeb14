// What is packed for a release beside what the set-up built here, in turn: the time from an empty process to a first search,
// and the time of searches.
//   npm run pack -- main search && npm run bench:install [-- --out FILE]
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { difference, inTurn, median, microseconds, ratio } from './measure.mjs';
import { faissIn, figure, machine, report, table } from './report.mjs';

const { values: options } = parseArgs({ options: { out: { type: 'string', default: fileURLToPath(new URL('install.md', import.meta.url)) } } });

const root = fileURLToPath(new URL('..', import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const tarballs = ['faiss-vision-linux-x64', 'faiss-vision'].map((name) => join(root, 'build/packages', `${name}-${version}.tgz`));
if (!tarballs.every(existsSync)) throw new Error(`${tarballs.join(' or ')} is not there: npm run pack -- main search makes them`);

const trial = mkdtempSync(join(tmpdir(), 'faiss-vision-bench-'));
writeFileSync(join(trial, 'package.json'), '{ "private": true }');
const quietly = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
execFileSync('npm', ['install', ...quietly, ...tarballs], { cwd: trial });
const local = join(trial, 'local');
mkdirSync(join(local, 'node_modules'), { recursive: true });
symlinkSync(root, join(local, 'node_modules', 'faiss-vision'));
writeFileSync(join(local, 'package.json'), '{ "private": true }');

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

// Both copies in one process, call by call in turn, on one thread each: what the machine does besides meets both alike.
const copies = { installed: createRequire(join(trial, 'x'))('faiss-vision/ann'), local: createRequire(join(local, 'x'))('faiss-vision/ann') };
const count = 20_000;
const dimension = 128;
const vectors = Float32Array.from({ length: count * dimension }, () => Math.random() - 0.5);
for (const { setThreads } of Object.values(copies)) setThreads(1);
const rows = [];
for (const [description, queries] of [['Flat', 1], ['Flat', 200], ['HNSW16', 100], ['IVF128,Flat', 100], ['SQ8', 10]]) {
  const indexes = Object.fromEntries(Object.entries(copies).map(([name, { Index }]) => [name, Index.factory(dimension, description)]));
  for (const index of Object.values(indexes)) {
    index.trainSync(vectors);
    index.addSync(vectors);
  }
  const asked = vectors.slice(0, queries * dimension);
  const search = (name) => () => microseconds(() => indexes[name].searchSync(asked, 10));
  const times = await inTurn({ installed: search('installed'), local: search('local') }, queries === 1 ? 1000 : 60);
  const fastest = Math.min(...times.installed) / Math.min(...times.local);
  rows.push([`${description}, ${queries}`, figure(median(times.local)), ratio(times.installed, times.local).toFixed(3), fastest.toFixed(3)]);
}
rmSync(trial, { recursive: true });

const { say, write } = report();
const above = (name) => [name, figure(median(start[name])), figure(difference(start[name], start.empty))];
say('# The installed package beside the local build');
say('Written by `npm run bench:install`. Medians of rounds in turn.');
say([machine(), `- ${faissIn(copies.installed.searchInfo())}`].join('\n'));
say("A process that ends after its first search, `require('faiss-vision/ann')` included, and an empty one, in milliseconds:");
say(table(['', 'whole', 'above the empty one'], [['empty', figure(median(start.empty)), ''], above('installed'), above('local')]));
say(`searchSync in ${count.toLocaleString('en')} vectors of ${dimension} numbers, k = 10, both copies in one process, on one thread:`);
say(table(['index, queries', 'local, microseconds', 'installed / local', 'the fastest of each'], rows));
write(options.out);
