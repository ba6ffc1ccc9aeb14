// Photo to features (decode, detect, align, embed), and @vladmandic/face-api on its wasm backend doing the same, in turn.
//   npm run bench:faces
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { setup } from '../scripts/setup.mjs';
import { inTurn, median, microseconds, ratio } from './measure.mjs';

await setup({ quiet: true });

const require = createRequire(import.meta.url);
const { FaceRecognizer } = require('../dist/face');
const { visionAddon } = require('../dist/addon.js');
const { photosFolder } = require('../dist/models/cache.js');

const rounds = { 'face_recognition/obama.jpg': 20, 'face_recognition/obama2.jpg': 7, 'face_recognition/biden.jpg': 7, 'face-api/sample1.jpg': 7 };

// A process of its own, so that neither's garbage is collected in the other's time.
const child = fork(new URL('peers/face-api.mjs', import.meta.url));
child.on('exit', (code) => {
  if (code !== 0) throw new Error(`face-api's process ended with ${code}`);
});
const [about] = await once(child, 'message');

const recognizer = await FaceRecognizer.load({ model: 'resnet128' });
await recognizer.warmUp();
console.log('ours:    ', JSON.stringify(visionAddon().info()));
console.log('face-api:', JSON.stringify(about));
console.log(`machine:   ${availableParallelism()} cores, load average ${loadavg()[0].toFixed(1)} before\n`);

for (const [photo, count] of Object.entries(rounds)) {
  const path = join(photosFolder(), photo);
  const found = {};
  const times = await inTurn(
    {
      ours: () => microseconds(async () => (found.ours = await recognizer.faces(path))),
      'face-api': async () => {
        child.send(path);
        const [{ time, faces }] = await once(child, 'message');
        found['face-api'] = faces;
        return time;
      },
    },
    count,
    3,
  );
  console.log(`${photo}: face-api / ours ${ratio(times['face-api'], times.ours).toFixed(2)}`);
  for (const name of ['ours', 'face-api']) {
    const scores = found[name].map(({ score }) => score.toFixed(2));
    console.log(`  ${name.padEnd(8)} ${(median(times[name]) / 1000).toFixed(0).padStart(5)} ms, ${scores.length} found with score ${scores.join(', ')}`);
  }
  console.log(`  features of the face both describe most alike: ${apart(found.ours, found['face-api']).toFixed(2)} apart`);
}
child.disconnect();
await recognizer.close();

/** Euclidean distance of the two most alike: the same weights, but face-api does not turn a tilted face upright. */
function apart(ours, peers) {
  const distance = (a, b) => Math.hypot(...a.features.map((x, i) => x - b.features[i]));
  return Math.min(...ours.flatMap((a) => peers.map((b) => distance(a, b))));
}
