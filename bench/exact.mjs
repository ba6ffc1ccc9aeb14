// Exact search by bounds beside FAISS's own flat index in the same process, faiss-cpu in Python and usearch's exactSearch, in turn;
// what the copy costs when vectors are added and when a file is opened.
//   npm run bench:exact -- [--vectors 100000,1000000] [--rounds 15] [--built] [--out FILE]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadBareFaiss } from './build.mjs';
import { randomDirections } from './directions.mjs';
import { inTurn, median, microseconds, ratio } from './measure.mjs';
import { pythonPeer } from './python.mjs';
import { faissIn, figure, machine, report, table } from './report.mjs';

const { values: options } = parseArgs({
  options: {
    vectors: { type: 'string', default: '100000,1000000' },
    rounds: { type: 'string', default: '15' },
    built: { type: 'boolean', default: false },
    out: { type: 'string', default: fileURLToPath(new URL('exact.md', import.meta.url)) },
  },
});
const require = createRequire(import.meta.url);
const { BareFlat } = options.built ? require('../build/Release/bench.node') : await loadBareFaiss();
const { Index, IndexFlatL2, IndexFlatIP, searchInfo } = require('../dist/ann');
const dimension = 512;
const directions = (count, seed) => randomDirections(count, dimension, seed);
const asked = 1000;
const k = 10;
const threads = availableParallelism();
const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-bench-'));
const { say, write } = report();

say('# Exact search by bounds, in one run with the peers');
say(
  `Written by \`npm run bench:exact\`. Random directions x ${dimension}, k = ${k}; ours through \`await\`, FAISS's IndexFlat as a C++ call in ` +
    'the same process, faiss-cpu in Python and usearch\'s `exactSearch` in processes of their own, in turn. Times are medians, in ' +
    'milliseconds; the others are how many times as long the peer takes, the median of the rounds\' own ratios.',
);
say([machine(), `- ${faissIn(searchInfo())}`].join('\n'));
try {
  for (const count of options.vectors.split(',').map(Number)) {
    await compare(count, count > 200_000 ? Math.ceil(Number(options.rounds) / 3) : Number(options.rounds));
    write(options.out);
  }
} finally {
  rmSync(folder, { recursive: true });
}

function save(name, vectors) {
  const path = join(folder, name);
  const file = openSync(path, 'w');
  const bytes = new Uint8Array(vectors.buffer);
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, Math.min(1 << 30, bytes.length - at));
  closeSync(file);
  return path;
}

async function compare(count, rounds) {
  const vectors = directions(count, 1);
  const queries = directions(asked, 2);
  const files = { vectors: save('vectors.f32', vectors), queries: save('queries.f32', queries) };
  const rows = [];
  const sentences = [];
  for (const metric of ['l2', 'ip']) {
    const index = new (metric === 'l2' ? IndexFlatL2 : IndexFlatIP)(dimension);
    await index.add(vectors);
    const bare = new BareFlat(dimension, metric);
    bare.add(vectors);
    const python = pythonPeer(fileURLToPath(new URL('exact_peer.py', import.meta.url)), ['faiss-cpu', 'numpy']);
    await python.ask({ ...files, dimension, metric });
    const usearch = fork(new URL('peers/exact-search.mjs', import.meta.url));
    const ask = async (command) => (usearch.send(command), (await once(usearch, 'message'))[0]);
    await ask({ ...files, dimension, metric: metric === 'l2' ? 'l2sq' : 'ip', threads });

    for (const n of [1, 16, asked]) {
      let first = 0;
      let other = 0;
      const x = () => queries.slice(first * dimension, (first + n) * dimension);
      const contenders = {
        ours: async () => {
          first = (first + n) % (asked - n + 1);
          const asking = x();
          let found;
          const time = await microseconds(async () => (found = await index.search(asking, k)));
          bare.search(asking, k);
          bare.labels().forEach((label, i) => (other += label !== found.labels[i] ? 1 : 0));
          return time;
        },
        faiss: async () => bare.search(x(), k),
        python: () => python.ask({ first, count: n, k }),
      };
      if (n === 1) contenders.usearch = async () => (await ask({ query: first, k })).time;
      const times = await inTurn(contenders, n === asked ? Math.ceil(rounds / 5) : rounds, n === asked ? 0 : 1);
      const times_ = (name) => (times[name] ? ratio(times[name], times.ours).toFixed(1) : '');
      rows.push([`${metric === 'l2' ? 'L2' : 'inner product'}, ${n}`, figure(median(times.ours) / 1000), times_('faiss'), times_('python'), times_('usearch'), String(other)]);
    }
    python.end();
    usearch.disconnect();
    if (metric === 'l2') sentences.push(await adding(vectors, count), await opening(index));
    await index.close();
  }
  say(`## ${count.toLocaleString('en')} vectors`);
  say(table(['metric, queries', 'ours, ms', 'FAISS in C++', 'faiss-cpu', 'usearch', 'other ids than FAISS'], rows));
  say(sentences.join('\n'));
}

/** Adding all to an empty index, with and without the copy. */
async function adding(vectors, count) {
  const add = (exact) => async () => {
    const index = Index.factory(dimension, 'Flat', { exact });
    const time = await microseconds(() => index.addSync(vectors));
    await index.close();
    return time;
  };
  const times = await inTurn({ plain: add('plain'), bounded: add('bounded') }, count > 200_000 ? 3 : 9, 1);
  return `- Adding all at once takes ${figure((ratio(times.bounded, times.plain) - 1) * 100)} % longer with the copy than without (${figure(median(times.plain) / 1000)} ms).`;
}

/** Opening a saved index, and reading its file into memory. */
async function opening(index) {
  const path = join(folder, 'saved.index');
  await index.save(path);
  const read = async () => {
    const file = openSync(path, 'r');
    const size = fstatSync(file).size;
    const time = await microseconds(() => {
      const bytes = Buffer.allocUnsafeSlow(size);
      for (let at = 0; at < size; ) at += readSync(file, bytes, at, Math.min(1 << 28, size - at), at);
    });
    closeSync(file);
    return time;
  };
  const open = async () => {
    let opened;
    const time = await microseconds(() => (opened = Index.loadSync(path)));
    await opened.close();
    return time;
  };
  const times = await inTurn({ read, open }, 5, 1);
  rmSync(path);
  return `- Opening the saved index takes ${ratio(times.open, times.read).toFixed(2)} times as long as reading its file into memory (${figure(median(times.read) / 1000)} ms).`;
}
