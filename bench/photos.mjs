// Many photos: at once against one after the other; large ones; memory over 2,000 photos and for loading; how soon a process is ready.
//   npm run bench:photos -- [--photos 2000] [--only loading,memory,together,large] [--built] [--out FILE]
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setup } from '../scripts/setup.mjs';
import { difference, inTurn, median, microseconds, ratio } from './measure.mjs';
import { figure, machine, report, table } from './report.mjs';
import { seededFacenet } from './seeded.mjs';

const PARTS = 'loading,memory,together,large';
const { values: options } = parseArgs({
  options: {
    photos: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: PARTS },
    built: { type: 'boolean', default: false },
    out: { type: 'string' }, // bench/photos.md for all of it
  },
});
const wanted = new Set(options.only.split(','));
if (!options.built) await setup({ quiet: true });

const require = createRequire(import.meta.url);
const { FaceRecognizer } = require('../dist');
const { photosFolder } = require('../dist/models/cache.js');
const { decode } = require('../dist/image');
const sharp = require('sharp');
const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-bench-'));
const facenet = join(folder, 'facenet.safetensors');
await seededFacenet(facenet);
const { say, write } = report();

say('# Many photos');
say('Written by `npm run bench:photos`. Medians of rounds in turn; FaceNet with seeded weights, in fp32.');
say(machine());

// Of its own process: what a script that loads it once in passing would see.
const root = fileURLToPath(new URL('..', import.meta.url));
const stdio = ['ignore', 'pipe', 'inherit'];
const run = (script, flags = [], env = process.env) => execFileSync(process.execPath, [...flags, '-e', script], { cwd: root, encoding: 'utf8', stdio, env });
const facenetOptions = JSON.stringify({ model: 'facenet', weights: facenet });
const names = ['obama', 'obama2', 'biden', 'obama_partial_face'].map((name) => join(photosFolder(), 'face_recognition', `${name}.jpg`));

if (wanted.has('loading')) {
  const loading = JSON.parse(run(`const rss = () => Number(/VmRSS:\\s+(\\d+)/.exec(require('fs').readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
    const { FaceRecognizer } = require('./dist'); (async () => {
    await FaceRecognizer.load({ model: 'resnet128' }); const before = rss();
    await FaceRecognizer.load(${facenetOptions});
    console.log(JSON.stringify({ megabytes: rss() - before })); })()`));
  const size = statSync(facenet).size / 2 ** 20;
  say(
    `- Loading FaceNet where resnet128 and libtorch are loaded already: ${loading.megabytes.toFixed(0)} MiB more resident for ` +
      `${size.toFixed(0)} MiB of weights (${(loading.megabytes / size).toFixed(2)} times).`,
  );
  const ready = await inTurn(
    {
      without: () => microseconds(() => run(`require('./dist/addon.js').visionAddon().info()`)),
      facenet: () => microseconds(() => run(`require('./dist').FaceRecognizer.load(${facenetOptions})`)),
    },
    Number(options.rounds),
    1,
  );
  say(
    `- A process that loads FaceNet and the detector, and runs both once, takes ${figure(difference(ready.facenet, ready.without) / 1e6)} s more than one that ` +
      `loads libtorch alone (${figure(median(ready.without) / 1e6)} s).`,
  );
}

if (wanted.has('memory')) {
  // What is resident once garbage, and with it the pixels of photos that are done, is collected and given back, which happens within
  // about a second: else it hangs on when that last happened.
  for (const [how, atOnce, arenas] of [
    ['one after the other', 1],
    ['eight at a time', 8],
    ['eight at a time with MALLOC_ARENA_MAX=2', 8, '2'],
  ]) {
    const memory = JSON.parse(run(`const { readFileSync } = require('fs');
      const { FaceRecognizer } = require('./dist');
      const names = ${JSON.stringify(names)}, photos = ${Number(options.photos)}, memory = [];
      async function resident() {
        for (let i = 0; i < 3; i++) global.gc(), await new Promise((resolve) => setTimeout(resolve, 50));
        await new Promise((resolve) => setTimeout(resolve, 3000));
        return Number(/VmRSS:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
      }
      (async () => {
        const recognizer = await FaceRecognizer.load(${facenetOptions});
        for (let done = 0; done < photos; ) {
          await Promise.all(Array.from({ length: ${atOnce} }, () => recognizer.faces(names[done++ % names.length])));
          if (process.stderr.isTTY) process.stderr.write('\\r' + done + ' photos \\x1b[K');
          if (done === 200 || done >= photos) memory.push(await resident());
        }
        if (process.stderr.isTTY) process.stderr.write('\\r\\x1b[K');
        console.log(JSON.stringify(memory));
      })()`, ['--expose-gc'], { ...process.env, ...(arenas && { MALLOC_ARENA_MAX: arenas }) }));
    say(
      '- Resident three seconds after garbage collection, in a process that does nothing else: after 200 photos, ' +
        `${how}, ` +
        `${memory[0].toFixed(0)} MiB, after ${options.photos} ${memory[1].toFixed(0)} MiB, a change of ${((memory[1] / memory[0] - 1) * 100).toFixed(1)} %.`,
    );
  }
}

if (wanted.has('together')) {
  const rows = [];
  const cores = availableParallelism();
  const busy = {};
  const used = {};
  /** Microseconds; what the processor spent on it, and what share of its time that is, are kept. */
  async function measured(name, work) {
    const before = process.cpuUsage();
    const time = await microseconds(work);
    const { user, system } = process.cpuUsage(before);
    used[name].push(user + system);
    busy[name].push((user + system) / time / cores);
    return time;
  }
  async function compare(title, recognizer, photos, faces, rounds) {
    for (const name of ['sequence', 'together', 'decoding']) busy[name] = [], used[name] = [];
    const times = await inTurn(
      {
        sequence: () => measured('sequence', async () => { for (const photo of photos) await recognizer.faces(photo, faces); }),
        together: () => measured('together', () => Promise.all(photos.map((photo) => recognizer.faces(photo, faces)))),
        decoding: () => measured('decoding', async () => { for (const photo of photos) await decode(photo); }),
      },
      rounds,
      1,
    );
    const perSecond = (name) => [figure(64e6 / median(times[name])), `${(100 * median(busy[name])).toFixed(0)} %`];
    const decoding = ratio(used.decoding, used.sequence);
    const most = 1 + (cores - 1) * decoding;
    const gain = ratio(times.sequence, times.together).toFixed(2);
    rows.push([title, ...perSecond('sequence'), ...perSecond('together'), gain, `${(100 * decoding).toFixed(0)} %`, most.toFixed(2)]);
  }
  const often = (four) => Array.from({ length: 64 }, (_, i) => four[i % four.length]);
  for (const [model, weights] of [['resnet128', undefined], ['facenet', facenet]]) {
    const recognizer = await FaceRecognizer.load({ model, weights });
    await compare(model, recognizer, often(names), {}, Number(options.rounds));
    if (model === 'resnet128') {
      for (const megapixels of [4, 12]) {
        // Each by its own factor, the smallest face by their mean: the detector has about as much to do as in the row above.
        const factors = [];
        const enlarged = await Promise.all(names.map(async (name, i) => {
          const { width, height } = await sharp(name).metadata();
          factors.push(Math.sqrt((megapixels * 1e6) / (width * height)));
          const path = join(folder, `${megapixels}-${i}.jpg`);
          await sharp(name).resize(Math.round(width * factors.at(-1))).jpeg({ quality: 90 }).toFile(path);
          return path;
        }));
        const minFaceSize = Math.round(20 * factors.reduce((a, b) => a + b) / factors.length);
        const title = `resnet128, ${megapixels} megapixels, minFaceSize ${minFaceSize}`;
        await compare(title, recognizer, often(enlarged), { minFaceSize }, Math.min(3, Number(options.rounds)));
      }
    }
    await recognizer.close();
  }
  say(
    `64 photos of four, of half a megapixel to two, or enlarged to what phones take, the smallest face with them, from file to features, in photos ` +
      `a second, and how much of the cores' time that took. One after the other, a photo is decoded on ` +
      `one core while the others wait, and looked at on all of them: where decoding is a share d of the work, at once is 1 + (cores - 1) d times as fast, ` +
      `if the work stays the same and the cores are never idle.`,
  );
  say(table(['', 'one after the other', 'cores busy', 'at once', 'cores busy', 'at once / one after the other', 'd', '1 + (cores - 1) d'], rows));
}

if (wanted.has('large')) {
  const large = [];
  const recognizer = await FaceRecognizer.load({ model: 'resnet128' });
  const { width, height } = await sharp(names[0]).metadata();
  const enlarged = sharp(names[0]).resize(4 * width, 4 * height, { kernel: 'cubic' });
  for (const [format, bytes] of [['JPEG', await enlarged.clone().jpeg({ quality: 92 }).toBuffer()], ['WebP', await enlarged.webp({ quality: 92, effort: 0 }).toBuffer()]]) {
    for (const minFaceSize of [300, 500, 900]) {
      const times = await inTurn(
        {
          whole: () => microseconds(async () => recognizer.faces(await decode(bytes), { minFaceSize })),
          shrunk: () => microseconds(() => recognizer.faces(bytes, { minFaceSize })),
        },
        Number(options.rounds),
        1,
      );
      large.push([format, `${minFaceSize}`, figure(median(times.whole) / 1000), figure(median(times.shrunk) / 1000), ratio(times.whole, times.shrunk).toFixed(1)]);
    }
  }
  await recognizer.close();
  say(`A photo of ${4 * width} x ${4 * height} pixels, from file to features, decoded whole and shrunk while it is decoded, as minFaceSize allows:`);
  say(table(['', 'minFaceSize', 'whole, ms', 'shrunk, ms', 'whole / shrunk'], large));
}
const out = options.out ?? (options.only === PARTS ? fileURLToPath(new URL('photos.md', import.meta.url)) : undefined);
if (out) write(out);
rmSync(folder, { recursive: true });
