// Many photos: at once against one after the other; memory over 2,000 photos and for loading; how soon a process is ready.
//   npm run bench:photos -- [--photos 2000] [--built] [--out FILE]
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setup } from '../scripts/setup.mjs';
import { inTurn, median, microseconds, ratio } from './measure.mjs';
import { figure, machine, report, table } from './report.mjs';
import { seededFacenet } from './seeded.mjs';

const { values: options } = parseArgs({
  options: {
    photos: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '5' },
    built: { type: 'boolean', default: false },
    out: { type: 'string', default: fileURLToPath(new URL('photos.md', import.meta.url)) },
  },
});
if (!options.built) await setup({ quiet: true });

const require = createRequire(import.meta.url);
const { FaceRecognizer } = require('../dist');
const { photosFolder } = require('../dist/models/cache.js');
const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-bench-'));
const facenet = join(folder, 'facenet.safetensors');
await seededFacenet(facenet);
const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
const { say, write } = report();

say('# Many photos');
say('Written by `npm run bench:photos`. Medians of rounds in turn; FaceNet with seeded weights, in fp32.');
say(machine());

// Of its own process: what a script that loads it once in passing would see.
const fresh = (script) => JSON.parse(execFileSync(process.execPath, ['-e', script], { cwd: fileURLToPath(new URL('..', import.meta.url)), encoding: 'utf8' }));
const rss = `const rss = () => Number(/VmRSS:\\s+(\\d+)/.exec(require('fs').readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;`;
const loading = fresh(`${rss} const { FaceRecognizer } = require('./dist'); (async () => {
  await FaceRecognizer.load({ model: 'resnet128' }); const before = rss();
  const start = performance.now(); await FaceRecognizer.load({ model: 'facenet', weights: ${JSON.stringify(facenet)} });
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, megabytes: rss() - before })); })()`);
const size = statSync(facenet).size / 2 ** 20;
say(
  `- Loading FaceNet where resnet128 and libtorch are loaded already: ${loading.seconds.toFixed(2)} s, with its first run on a made picture; ` +
    `${loading.megabytes.toFixed(0)} MiB more resident for ${size.toFixed(0)} MiB of weights (${(loading.megabytes / size).toFixed(2)} times).`,
);

const names = ['obama', 'obama2', 'biden', 'obama_partial_face'].map((name) => join(photosFolder(), 'face_recognition', `${name}.jpg`));
const rows = [];
for (const [model, weights] of [['resnet128', undefined], ['facenet', facenet]]) {
  const recognizer = await FaceRecognizer.load({ model, weights });
  const photos = Array.from({ length: 64 }, (_, i) => names[i % names.length]);
  const times = await inTurn(
    {
      sequence: () => microseconds(async () => { for (const photo of photos) await recognizer.faces(photo); }),
      together: () => microseconds(() => Promise.all(photos.map((photo) => recognizer.faces(photo)))),
    },
    Number(options.rounds),
    1,
  );
  const perSecond = (name) => figure(64e6 / median(times[name]));
  rows.push([model, perSecond('sequence'), perSecond('together'), ratio(times.sequence, times.together).toFixed(2)]);
  if (model === 'facenet') {
    const memory = [];
    for (let done = 0; done < Number(options.photos); done += 8) {
      await Promise.all(Array.from({ length: 8 }, (_, i) => recognizer.faces(names[(done + i) % names.length])));
      if (process.stderr.isTTY) process.stderr.write(`\r${done + 8} photos `);
      if (done + 8 === 200) memory.push(resident());
    }
    memory.push(resident());
    say(`- Resident after 200 photos ${memory[0].toFixed(0)} MiB, after ${options.photos} ${memory[1].toFixed(0)} MiB, a change of ${((memory[1] / memory[0] - 1) * 100).toFixed(1)} %.`);
  }
  await recognizer.close();
}
say('64 photos of four, from file to features, in photos a second:');
say(table(['', 'one after the other', 'at once', 'at once / one after the other'], rows));
write(options.out);
rmSync(folder, { recursive: true });
