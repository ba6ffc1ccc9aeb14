// The networks beside PyTorch (newest of PyPI; traced, frozen, channels last) on the same weights, inputs and threads, in turn,
// and the detector beside facenet-pytorch's.
//   npm run bench:networks -- [--rounds 15] [--parts facenet,fcrn,mtcnn] [--built] [--out FILE]
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setup } from '../scripts/setup.mjs';
import { inTurn, median, microseconds, ratio } from './measure.mjs';
import { pythonPeer } from './python.mjs';
import { figure, machine, report, table } from './report.mjs';
import { seeded, seededFacenet } from './seeded.mjs';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    parts: { type: 'string', default: 'facenet,fcrn,mtcnn' },
    built: { type: 'boolean', default: false },
    out: { type: 'string', default: fileURLToPath(new URL('networks.md', import.meta.url)) },
  },
});
if (!options.built) await setup({ quiet: true });

const require = createRequire(import.meta.url);
const { FaceRecognizer, DepthEstimator } = require('../dist');
const { visionAddon } = require('../dist/addon.js');
const { photosFolder } = require('../dist/models/cache.js');
const { decode } = require('../dist/image');
const { seededWeights: seededFcrn } = require('../dist/depth/seeded.js');
const threads = availableParallelism();
const rounds = Number(options.rounds);
const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-bench-'));
const { say, write } = report();
const peer = pythonPeer(fileURLToPath(new URL('networks_peer.py', import.meta.url)), ['torch', 'torchvision', 'numpy', 'pillow', 'requests', 'tqdm'], {
  bare: ['facenet-pytorch==2.6.0'],
  args: [String(threads)],
});

try {
  say('# The networks beside PyTorch, in one run');
  say(
    'Written by `npm run bench:networks`. Medians of rounds in turn, in milliseconds; ours / PyTorch is the median of the rounds\' own ' +
      'ratios, below 1 ours is faster. Ours is the public call, with its queue, its promise and the scaling of the pixels; PyTorch is the ' +
      'forward pass alone.',
  );
  for (const part of options.parts.split(',')) await { facenet, fcrn, mtcnn }[part]();
  write(options.out);
} finally {
  peer.end();
  rmSync(folder, { recursive: true });
}

/** One network in both precisions: `ours(precision)` gives { call, close }, call() answers with numbers. */
async function compare(title, network, weights, cases, ours, apart) {
  const rows = [];
  let about;
  for (const [precision, count, pixels] of cases) {
    const file = join(folder, 'pixels');
    writeFileSync(file, pixels);
    const own = await ours(precision, pixels);
    about = await peer.ask({ network, weights, precision, count, pixels: file });
    const answer = await own.call();
    const times = await inTurn({ ours: () => microseconds(own.call), torch: () => peer.ask({}) }, rounds, 3);
    await own.close();
    rows.push([
      `${precision}, ${count}`,
      figure(median(times.ours) / 1000),
      figure(median(times.torch) / 1000),
      ratio(times.ours, times.torch).toFixed(2),
      apart(answer, about.answer).toExponential(1),
    ]);
  }
  say(`## ${title}`);
  say([machine(), `- libtorch ${visionAddon().info().torch} for ours; PyTorch ${about.version}, ${about.threads} threads`].join('\n'));
  say(table(['precision, pictures', 'ours, ms', 'PyTorch, ms', 'ours / PyTorch', 'answers apart'], rows));
}

async function facenet() {
  const weights = join(folder, 'facenet.safetensors');
  await seededFacenet(weights);
  const chips = (count) => Uint8Array.from(seeded('chips', count * 160 * 160 * 3), (value) => value * 256);
  await compare(
    'FaceNet (seeded weights, 160 x 160)',
    'facenet',
    weights,
    [['fp32', 1, chips(1)], ['fp32', 8, chips(8)], ['bf16', 1, chips(1)], ['bf16', 8, chips(8)]],
    async (precision, pixels) => {
      const recognizer = await FaceRecognizer.load({ model: 'facenet', weights, precision });
      return { call: () => recognizer.embed(pixels), close: () => recognizer.close() };
    },
    largestDifference,
  );
}

async function fcrn() {
  const pixels = Uint8Array.from(seeded('picture', 228 * 304 * 3), (value) => value * 256);
  const image = { data: pixels, width: 304, height: 228, channels: 3 };
  const weights = await seededFcrn();
  await compare(
    'FCRN (seeded weights, 304 x 228)',
    'fcrn',
    weights,
    [['fp32', 1, pixels], ['bf16', 1, pixels]],
    async (precision) => {
      const depth = await DepthEstimator.load({ weights: 'seeded', precision });
      return { call: async () => (await depth.estimate(image)).values, close: () => depth.close() };
    },
    (a, b) => largestDifference(a, b) / Math.max(...b),
  );
}

async function mtcnn() {
  const rows = [];
  const recognizer = await FaceRecognizer.load({ model: 'resnet128' });
  for (const photo of ['face_recognition/obama.jpg', 'face-api/sample1.jpg']) {
    const path = join(photosFolder(), photo);
    const pixels = await decode(path);
    const { boxes } = await peer.ask({ photo: path });
    const faces = await recognizer.faces(pixels);
    const times = await inTurn({ ours: () => microseconds(() => recognizer.faces(pixels)), torch: () => peer.ask({}) }, rounds, 2);
    rows.push([photo, `${faces.length}`, `${boxes.length}`, figure(median(times.ours) / 1000), figure(median(times.torch) / 1000), ratio(times.torch, times.ours).toFixed(1)]);
  }
  await recognizer.close();
  say("## MTCNN, decoded pictures: ours with resnet128's features, facenet-pytorch's `MTCNN.detect` without any");
  say(table(['photo', 'ours: faces', "facenet-pytorch's", 'ours, ms', 'facenet-pytorch, ms', 'facenet-pytorch / ours'], rows));
}

function largestDifference(a, b) {
  return b.reduce((most, value, i) => Math.max(most, Math.abs(value - a[i])), 0);
}
