// What this package adds to FAISS: searches awaited at once, the cost of a call, and the event loop under load.
//   node bench/index_overhead.mjs [--vectors 100000] [--indexes Flat;Flat plain;HNSW32;IVF1024,Flat] [--rounds 5] [--calls 10000] [--seconds 60]
//   [--parts together,overhead,loop] [--out FILE]; --built takes dist/ and the addons as they are, without the set-up.
import { createRequire } from 'node:module';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadBareFaiss } from './build.mjs';
import { clustered } from './clustered.mjs';
import { difference, inTurn, median, microseconds, ratio } from './measure.mjs';
import { faissIn, figure, machine, report, table } from './report.mjs';

const { values: options } = parseArgs({
  options: {
    vectors: { type: 'string', default: '100000' },
    indexes: { type: 'string', default: 'Flat;Flat plain;HNSW32;IVF1024,Flat' },
    rounds: { type: 'string', default: '5' },
    calls: { type: 'string', default: '10000' },
    seconds: { type: 'string', default: '60' },
    parts: { type: 'string', default: 'together,overhead,loop' },
    built: { type: 'boolean', default: false },
    out: { type: 'string', default: fileURLToPath(new URL('index_overhead.md', import.meta.url)) },
  },
});
const k = 10;
const count = Number(options.vectors);
const require = createRequire(import.meta.url);
const { BareFlat } = options.built ? require('../build/Release/bench.node') : await loadBareFaiss();
const { Index, searchInfo } = require('../dist/ann');
const { say, write } = report();
const parts = { together, overhead, loop };

say('# What a search costs on top of FAISS');
say(`Written by \`node bench/index_overhead.mjs\`. Medians of rounds in turn.`);
say([machine(), `- ${faissIn(searchInfo())}`].join('\n'));
for (const part of options.parts.split(',')) await parts[part]();
write(options.out);

/** 1,000 vectors in one search, awaited at once, and awaited one after the other. */
async function together() {
  const dimension = 512;
  const asked = 1000;
  const { vectors, queries, single } = data(count, asked, dimension);
  const rows = [];
  for (const description of options.indexes.split(';')) {
    process.stderr.write(`${description} is built\n`);
    const [name, exact] = description.split(' ');
    const index = Index.factory(dimension, name, exact === undefined ? {} : { exact });
    if (!index.isTrained) await index.train(vectors);
    await index.add(vectors);
    // As many as make a round of a second or so; the time is per query.
    const inSequence = single.slice(0, name === 'Flat' ? 50 : asked);
    const times = await inTurn(
      {
        batch: () => microseconds(() => index.search(queries, k)),
        together: () => microseconds(() => Promise.all(single.map((query) => index.search(query, k)))),
        sequence: async () => {
          const time = await microseconds(async () => {
            for (const query of inSequence) await index.search(query, k);
          });
          return (time / inSequence.length) * asked;
        },
      },
      Number(options.rounds),
      1,
    );
    const ms = (name) => figure(median(times[name]) / 1000);
    rows.push([
      description,
      ms('batch'),
      ms('together'),
      ms('sequence'),
      ratio(times.together, times.batch).toFixed(2),
      ratio(times.sequence, times.together).toFixed(1),
    ]);
    await index.close();
  }
  say(`## 1,000 searches, ${count.toLocaleString('en')} x ${dimension}, k = ${k}, in milliseconds`);
  say(table(['', 'one search of 1,000', '1,000 awaited at once', 'one after the other', 'at once / one search', 'one after the other / at once'], rows));
}

/** One vector, against the time that FAISS's own C++ call takes. */
async function overhead() {
  const dimension = 128;
  const { vectors, single } = data(1000, 100, dimension);
  const index = Index.factory(dimension, 'Flat');
  await index.add(vectors);
  const bare = new BareFlat(dimension, 'l2');
  bare.add(vectors);
  // Runs of one kind of call, so that what a change of threads leaves behind in the caches is not the next kind's.
  const run = async (call) => {
    const times = [];
    for (const query of single) times.push(await call(query));
    return median(times);
  };
  const rounds = Math.ceil(Number(options.calls) / single.length);
  const times = await inTurn(
    {
      bare: () => run((query) => bare.search(query, k)),
      searchSync: () =>
        run((query) => {
          const start = process.hrtime.bigint();
          index.searchSync(query, k);
          return Number(process.hrtime.bigint() - start) / 1000;
        }),
      search: () =>
        run(async (query) => {
          const start = process.hrtime.bigint();
          await index.search(query, k);
          return Number(process.hrtime.bigint() - start) / 1000;
        }),
    },
    rounds,
    10,
  );
  await index.close();
  const row = (title, name) => [title, figure(median(times[name])), figure(difference(times[name], times.bare))];
  say(`## One vector, 1,000 x ${dimension} flat, k = ${k}, in microseconds, ${(rounds * single.length).toLocaleString('en')} calls`);
  say(
    table(
      ['', 'median', 'above the C++ call'],
      [["FAISS's C++ call alone", figure(median(times.bare)), ''], row('searchSync', 'searchSync'), row('await search', 'search')],
    ),
  );
}

/** How late the event loop is while every thread searches, and while nothing happens. */
async function loop() {
  const dimension = 128;
  const { vectors, single } = data(count, 1000, dimension);
  const index = Index.factory(dimension, 'Flat');
  await index.add(vectors);
  const seconds = Number(options.seconds);
  const delay = async (work) => {
    const histogram = monitorEventLoopDelay({ resolution: 1 });
    histogram.enable();
    await work();
    histogram.disable();
    return { p50: histogram.percentile(50) / 1e6, p99: histogram.percentile(99) / 1e6, worst: histogram.max / 1e6 };
  };
  let searches = 0;
  const search = async (until, first) => {
    for (let next = first; performance.now() < until; next++, searches++) await index.search(single[next % single.length], k);
  };
  const waiting = 64;
  const idle = await delay(() => sleep(seconds * 1000));
  const load = await delay(() => {
    const until = performance.now() + seconds * 1000;
    return Promise.all(Array.from({ length: waiting }, (_, first) => search(until, first * 10)));
  });
  await index.close();
  const row = (title, { p50, p99, worst }) => [title, figure(p50), figure(p99), figure(worst)];
  say(`## The event loop's delay, in milliseconds, over ${seconds} s (monitorEventLoopDelay, resolution 1 ms)`);
  say(table(['', 'median', '99th percentile', 'worst'], [row('idle', idle), row(`${waiting} searches always waiting`, load)]));
  say(
    `${figure(load.p99 - idle.p99)} ms above idle at the 99th percentile, at ${figure(searches / seconds)} searches a second ` +
      `of one vector in ${count.toLocaleString('en')} x ${dimension} flat.`,
  );
}

function data(count, asked, dimension) {
  const all = clustered({ dimension, count: count + asked });
  const queries = all.slice(count * dimension);
  const single = Array.from({ length: asked }, (_, i) => queries.slice(i * dimension, (i + 1) * dimension));
  return { vectors: all.slice(0, count * dimension), queries, single };
}
