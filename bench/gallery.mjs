// A gallery of a million faces: how long it takes to open, with its index's file and without, how much memory that takes, and what
// enrolling and identifying take beyond the embedding and the bare search.
//   npm run bench:gallery -- [--faces 1000000] [--file DATABASE, kept and used again] [--out FILE]
import { execFileSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { randomDirections } from './directions.mjs';
import { difference, inTurn, median, microseconds, ratio } from './measure.mjs';
import { figure, machine, report, table } from './report.mjs';

const { values: options } = parseArgs({
  options: {
    faces: { type: 'string', default: '1000000' },
    out: { type: 'string', default: fileURLToPath(new URL('gallery.md', import.meta.url)) },
    part: { type: 'string' }, // what a process of its own does
    file: { type: 'string' },
  },
});
const require = createRequire(import.meta.url);
const { Gallery, Index } = require('../dist');
const dimension = 128;
const each = 5;
const count = Number(options.faces);
const recognizer = { dimension, metric: 'l2', threshold: 0.6, model: 'made' };

const directions = (n, seed) => randomDirections(n, dimension, seed);

/** Memory that is used now, and the most there was, in MiB. */
function memory() {
  const status = readFileSync('/proc/self/status', 'utf8');
  const of = (name) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)[1]) / 1024;
  return { now: of('VmRSS'), most: of('VmHWM') };
}

/** Reads a file as it is: what comes from the disk is then in memory, and what remains is what opening does with it. */
function read(path) {
  const file = openSync(path, 'r');
  const buffer = Buffer.allocUnsafe(1 << 20);
  while (readSync(file, buffer) > 0);
  closeSync(file);
}

const parts = {
  /** Enrols everybody, as many calls at a time as a busy service has. */
  async make(file) {
    const gallery = await Gallery.open(file, { recognizer, snapshot: false, index: 'flat' });
    const group = 512;
    for (let first = 0; first < count / each; first += group) {
      const people = Math.min(group, count / each - first);
      const vectors = directions(people * each, first + 1);
      const one = (i) => {
        const features = vectors.subarray(i * each * dimension, (i + 1) * each * dimension);
        return gallery.enrollFeatures(`Person ${first + i}`, features, { metadata: { number: first + i } });
      };
      await Promise.all(Array.from({ length: people }, (_, i) => one(i)));
      if (process.stderr.isTTY) process.stderr.write(`\renrolled ${(first + people) * each} of ${count} `);
    }
    await gallery.close();
  },

  /** Opens and answers one search. */
  async open(file, snapshot) {
    const x = directions(1, 77);
    await Index.factory(dimension, 'Flat').close(); // loading the addon is not what is measured
    for (const path of [file, `${file}.index`].filter(existsSync)) read(path);
    const before = memory();
    let gallery;
    const time = await microseconds(async () => {
      gallery = await Gallery.open(file, { recognizer, snapshot: snapshot === 'write' });
      await gallery.identifyFeatures(x);
    });
    const after = memory();
    const { index } = await gallery.describe();
    await gallery.close();
    return { time, now: after.now - before.now, most: after.most - before.now, from: index.from, index: index.index, exact: index.exact };
  },

  async write(file) {
    return parts.open(file, 'write');
  },

  async enroll(file) {
    const gallery = await Gallery.open(file, { recognizer, snapshot: false });
    const x = directions(220, 99);
    const one = (i) => x.subarray(i * dimension, (i + 1) * dimension);
    const name = (i) => `New ${process.pid} ${i}`;
    const times = [];
    for (let i = 0; i < 220; i++) {
      const time = await microseconds(() => gallery.enrollFeatures(name(i), one(i)));
      if (i >= 20) times.push(time);
    }
    const found = await gallery.identifyFeatures(x);
    const removals = [];
    const searches = [];
    await Promise.all(Array.from({ length: 215 }, (_, i) => gallery.remove(name(i))));
    for (let i = 215; i < 220; i++) {
      removals.push(await microseconds(() => gallery.remove(name(i))));
      searches.push(await microseconds(() => gallery.identifyFeatures(one(i)))); // waits until the index has taken it out
    }
    await gallery.close();
    times.sort((a, b) => a - b);
    return {
      ...{ median: median(times), most: times.at(-1), p99: times[Math.floor(times.length * 0.99)] },
      ...{ found: found.filter((decision) => decision.found).length, remove: median(removals), after: median(searches) },
    };
  },

  async identify(file) {
    const gallery = await Gallery.open(file, { recognizer, snapshot: false });
    const { index } = await gallery.describe();
    const bare = await Index.load(`${file}.index`, { exact: index.exact });
    const x = directions(512, 55);
    let at = 0;
    const query = () => x.slice(at * dimension, (at + 1) * dimension);
    const times = await inTurn(
      {
        bare: async () => {
          at = (at + 1) % 512;
          const asking = query();
          return microseconds(() => bare.search(asking, 1));
        },
        gallery: async () => {
          const asking = query();
          return microseconds(() => gallery.identifyFeatures(asking));
        },
      },
      61,
      5,
    );
    await gallery.close();
    const { bare: alone, gallery: through } = times;
    return { bare: median(alone), gallery: median(through), ratio: ratio(through, alone), difference: difference(through, alone) };
  },
};

if (options.part !== undefined) {
  console.log(JSON.stringify((await parts[options.part](options.file)) ?? {}));
} else {
  await all();
}

async function all() {
  const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-bench-'));
  const file = options.file ?? join(folder, 'people.db');
  const alone = (part) =>
    JSON.parse(
      execFileSync(process.execPath, [fileURLToPath(import.meta.url), '--part', part, '--file', file, '--faces', String(count)], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    );
  const { say, write } = report();
  try {
    say('# A gallery in one file');
    say(
      `Written by \`npm run bench:gallery\`. ${(count / each).toLocaleString('en')} people with ${each} faces each, random directions of ` +
        `${dimension} numbers; ` +
        'each line in a process of its own. Features alone are ' +
        `${figure((count * dimension * 4) / 2 ** 20)} MiB.`,
    );
    say(machine());
    const making = existsSync(file) ? undefined : await microseconds(async () => alone('make'));
    rmSync(`${file}.index`, { force: true });
    const without = alone('open');
    alone('write');
    const withFile = alone('open');
    const features = (count * dimension * 4) / 2 ** 20;
    const row = (name, { time, now, most, from }) => [name, from, figure(time / 1e6), figure(now / features), figure(most / features)];
    say('## Opening, and the first answer');
    const rows = [row("without the index's file", without), row('with it', withFile)];
    say(table(['', 'index from', 's', 'memory / features', 'the most meanwhile'], rows));
    say(
      `- The index is \`${withFile.index}\`, ${withFile.exact}. The database has ${figure(statSync(file).size / 2 ** 20)} MiB. ` +
        'Both files had been read before.',
    );
    const identifying = alone('identify');
    say('## Identifying one face');
    say(
      table(
        ['', 'ms'],
        [
          ['`index.search`, the same index', figure(identifying.bare / 1000)],
          ['`gallery.identifyFeatures`', figure(identifying.gallery / 1000)],
        ],
      ),
    );
    say(`- ${identifying.ratio.toFixed(3)} times the bare search, the median of the rounds' own ratios; ${figure(identifying.difference)} µs more.`);
    const enrolling = alone('enroll');
    say('## Enrolling one more, and forgetting one');
    say(
      table(
        ['', 'ms'],
        [
          ['median', figure(enrolling.median / 1000)],
          ['99 of 100 below', figure(enrolling.p99 / 1000)],
          ['longest of 200', figure(enrolling.most / 1000)],
          ['forgetting one, median of 5', figure(enrolling.remove / 1000)],
          ['the first search after that', figure(enrolling.after / 1000)],
        ],
      ),
    );
    say(`- One after the other, features given, each synced to the disk when its call resolves; ${enrolling.found} of 220 are found afterwards.`);
    if (making !== undefined) say(`- Enrolling all ${count.toLocaleString('en')}, 512 calls at a time: ${figure(making / 1e6)} s.`);
    write(options.out);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
