// Flat, HNSW and IVF of this package, faiss-cpu, usearch and hnswlib-node on the same vectors at the same recall, in turn.
//   npm run bench:indexes -- [--vectors 100000] [--rounds 7] [--kinds flat,hnsw,ivf] [--peers ours,faiss-cpu,usearch,hnswlib-node] [--out FILE]
//   --built takes dist/ and the addon as they are, without the set-up.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setup } from '../scripts/setup.mjs';
import { clustered } from './clustered.mjs';
import { inTurn, median, ratio } from './measure.mjs';
import { peers } from './peers/peers.mjs';
import { faissIn, figure, machine, report, table } from './report.mjs';

const { values: options } = parseArgs({
  options: {
    vectors: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '7' },
    kinds: { type: 'string', default: 'flat,hnsw,ivf' },
    peers: { type: 'string', default: Object.keys(peers).join() },
    built: { type: 'boolean', default: false },
    out: { type: 'string', default: fileURLToPath(new URL('indexes.md', import.meta.url)) },
  },
});
const dimension = 128;
const count = Number(options.vectors);
const asked = 1000;
const k = 10;
const rounds = Number(options.rounds);
const threads = availableParallelism();
const settings = { M: 16, efConstruction: 200, nlist: 1024 };
const targets = [0.95, 0.99];
const kinds = {
  flat: { title: 'Flat (exact)', single: 50 },
  hnsw: { title: `HNSW, M = ${settings.M}, efConstruction = ${settings.efConstruction}`, single: asked, knob: 'efSearch', from: k },
  ivf: { title: `IVF, ${settings.nlist} lists`, single: asked, knob: 'nprobe', from: 1 },
};
const ways = { batch: '1,000 in one call', one: 'one at a time' };
const remarks = {
  ours: '- ours one at a time is `searchSync`, as the peers\' calls are synchronous',
  'faiss-cpu': '- faiss-cpu is given the BLAS kernels that suit the processor (OPENBLAS_CORETYPE), which it does not always choose by itself',
  usearch: '- usearch keeps no flat index: its `exactSearch` is given all vectors, and 50 queries a call, as it asks for fewer than 100',
  'hnswlib-node':
    '- hnswlib-node is compiled for this processor (-march=native), which npm does not do by itself; it takes one query a call, ' +
    'on the JavaScript thread, so 1,000 queries are 1,000 calls',
};
// What the rounds of one and the same contender differ by: nothing closer than this is called slower.
const noise = 0.02;

if (!options.built) await setup({ quiet: true });
const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-bench-'));
const { say, write } = report();
const progress = (text) => process.stderr.write(`${text}\n`);

try {
  const all = clustered({ dimension, count: count + asked });
  const vectors = all.subarray(0, count * dimension);
  const queries = all.subarray(count * dimension);
  writeFileSync(join(folder, 'vectors.f32'), vectors);
  writeFileSync(join(folder, 'queries.f32'), queries);

  const running = {};
  for (const name of options.peers.split(',')) running[name] = peers[name]();
  const about = {};
  for (const [name, peer] of Object.entries(running)) about[name] = await peer.ask({ do: 'open', folder, dimension, threads });

  say('# Index types against the peers, in one run');
  say(
    `Written by \`npm run bench:indexes\`. ${count.toLocaleString('en')} x ${dimension} clustered vectors (bench/clustered.mjs), ` +
      `${asked.toLocaleString('en')} queries of the same distribution, L2, k = ${k}; ${rounds} rounds in turn, medians. ` +
      `Ours / peer: our queries a second over the peer's, the median of the rounds' own ratios; above 1 ours is ahead.`,
  );
  say(
    [
      `${machine()}; every peer has all threads`,
      ...Object.entries(about).map(([name, { version, details = '' }]) => `- ${name} ${version} ${details.faiss ? faissIn(details) : details}`.trim()),
      ...Object.keys(running).flatMap((name) => remarks[name] ?? []),
    ].join('\n'),
  );

  const truth = await exactNeighbours(running, vectors, queries);
  const recall = async (name) => {
    const labels = await running[name].ask({ do: 'labels', k });
    let hits = 0;
    for (let i = 0; i < asked; i++) {
      const known = new Set(truth.slice(i * k, (i + 1) * k));
      for (let j = i * k; j < (i + 1) * k; j++) hits += known.has(labels[j]) ? 1 : 0;
    }
    return hits / truth.length;
  };

  for (const kind of options.kinds.split(',')) {
    const names = Object.keys(running).filter((name) => about[name].kinds.includes(kind));
    const builds = {};
    for (const name of names) {
      progress(`${kind}: ${name} builds`);
      builds[name] = await running[name].ask({ do: 'build', kind, settings });
    }
    say(`## ${kinds[kind].title}`);
    for (const target of kinds[kind].knob ? targets : [undefined]) await compare(kinds[kind], target, names, builds, running, recall);
  }
  for (const peer of Object.values(running)) {
    await peer.ask({ do: 'close' });
    peer.end();
  }
  write(options.out);
} finally {
  rmSync(folder, { recursive: true });
}

/** The k nearest of every query, by faiss-cpu's flat index; the first queries' by brute force in plain JavaScript too. */
async function exactNeighbours(running, vectors, queries) {
  const judge = running['faiss-cpu'] ?? running.ours;
  await judge.ask({ do: 'build', kind: 'flat', settings });
  const labels = await judge.ask({ do: 'labels', k });
  const distance = (query, id) => {
    let sum = 0;
    for (let j = 0; j < dimension; j++) sum += (queries[query * dimension + j] - vectors[id * dimension + j]) ** 2;
    return sum;
  };
  for (let query = 0; query < 20; query++) {
    const all = Float64Array.from({ length: count }, (_, id) => distance(query, id)).sort();
    const worst = Math.max(...labels.slice(query * k, (query + 1) * k).map((id) => distance(query, id)));
    // Two neighbours this close to each other may change places in single precision.
    if (worst > all[k - 1] * (1 + 1e-5)) throw new Error(`the flat search is wrong for query ${query}: ${worst}, not ${all[k - 1]}`);
  }
  return labels;
}

/** The smallest value of the kind's knob with at least this recall, by halving; undefined where none has it. */
async function smallest({ knob, from }, target, peer, recall) {
  const measured = new Map();
  const reaches = async (value) => {
    await peer.ask({ do: 'tune', value });
    measured.set(value, await recall());
    return measured.get(value) >= target;
  };
  const most = knob === 'nprobe' ? settings.nlist : 4096;
  let [low, high] = [from - 1, from];
  while (!(await reaches(high))) {
    if (high === most) return undefined;
    [low, high] = [high, Math.min(most, high * 2)];
  }
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (await reaches(middle)) high = middle;
    else low = middle;
  }
  await peer.ask({ do: 'tune', value: high });
  return { value: high, recall: measured.get(high) };
}

/** Microseconds a query, by way, contender and round. */
async function measure(running, names, single) {
  const contender = (name, way, number) => async () => {
    // The threads of whoever ran before may spin for some milliseconds more.
    await sleep(20);
    return (await running[name].ask({ do: 'time', way, count: number, k })) / number;
  };
  const times = {};
  for (const way of Object.keys(ways)) {
    // hnswlib-node's 1,000 calls take as long as 1,000 times one, so for a slow search fewer of them will do.
    const batch = (name) => way === 'batch' && name !== 'hnswlib-node';
    const run = (name) => (batch(name) ? contender(name, 'batch', asked) : contender(name, 'one', single));
    times[way] = await inTurn(Object.fromEntries(names.map((name) => [name, run(name)])), rounds, 1);
  }
  if (names.includes('ours')) {
    const own = { await: contender('ours', 'await', single), together: contender('ours', 'together', asked) };
    Object.assign(times, { own: await inTurn(own, rounds, 1) });
  }
  return times;
}

/** Measures every contender at the smallest setting that reaches the recall, and says how they compare. */
async function compare(kind, target, names, builds, running, recall) {
  const { knob, single } = kind;
  const found = {};
  for (const name of names) {
    progress(target ? `${name} looks for its smallest ${knob} with a recall of ${target}` : `${name} is checked`);
    found[name] = target ? await smallest(kind, target, running[name], () => recall(name)) : { recall: await recall(name) };
  }
  const reached = names.filter((name) => found[name]);
  const times = await measure(running, reached, single);

  const speed = (of) => figure(1e6 / median(of));
  const rows = reached.map((name) => [
    name,
    name === 'usearch' && !knob ? 'none' : figure(builds[name] / 1e6),
    ...(knob ? [String(found[name].value)] : []),
    found[name].recall.toFixed(4),
    ...Object.keys(ways).flatMap((way) => {
      const { ours, [name]: own } = times[way];
      return [speed(own), name === 'ours' || !ours ? '' : ratio(own, ours).toFixed(2)];
    }),
  ]);
  if (target) say(`### Recall@${k} of at least ${target}`);
  const columns = Object.values(ways).flatMap((way) => [`${way}, queries/s`, 'ours / peer']);
  say(table(['', 'build, s', ...(knob ? [knob] : []), `recall@${k}`, ...columns], rows));

  const sentences = names.filter((name) => !found[name]).map((name) => `${name} does not reach a recall of ${target}.`);
  if (times.own) {
    sentences.push(
      `Ours through \`await\`: ${speed(times.own.await)} queries/s one after the other, ${speed(times.own.together)} with 1,000 awaited at once.`,
      ...slower('ours', 'Ours', times),
    );
  }
  if (reached.includes('faiss-cpu')) sentences.push(...slower('faiss-cpu', 'FAISS itself (faiss-cpu)', times));
  if (sentences.length > 0) say(sentences.map((sentence) => `- ${sentence}`).join('\n'));
}

/** A sentence for every peer that answers more queries a second than this one. */
function slower(name, title, times) {
  return Object.entries(ways).flatMap(([way, words]) =>
    Object.keys(times[way])
      .map((peer) => [peer, ratio(times[way][peer], times[way][name])])
      // That ours is ahead of faiss-cpu is in the table: FAISS is held against the others here.
      .filter(([peer, share]) => share < 1 - noise && !(name === 'faiss-cpu' && peer === 'ours'))
      .map(([peer, share]) => `${title} is slower than ${peer} here, ${words}: ${share.toFixed(2)} of its queries a second.`),
  );
}
