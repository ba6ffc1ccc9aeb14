// What there is around the depth network: scaling the picture, and everything that is read out of the map. In one run.
//   npm run bench:depth -- [--rounds 31] [--out FILE]
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildBench } from './build.mjs';
import { inTurn, median, microseconds } from './measure.mjs';
import { figure, machine, report, table } from './report.mjs';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '31' },
    out: { type: 'string', default: fileURLToPath(new URL('depth.md', import.meta.url)) },
  },
});
const build = await buildBench('depth_parts_bench');
const require = createRequire(import.meta.url);
const { DepthEstimator, DepthMap } = require('../dist/depth');
const { seededNumbers, seededWeights } = require('../dist/depth/seeded.js');
const { say, write } = report();
const rounds = Number(options.rounds);

/** A map such as a room gives: smooth, with an edge and some noise, as numbers without any pattern compress like no real map. */
const values = Float32Array.from({ length: 160 * 128 }, (_, i) => {
  const [x, y] = [i % 160, Math.floor(i / 160)];
  const noise = (Math.imul(i, 0x9e3779b1) >>> 20) / 4096;
  return (x > 50 && x < 90 ? 1.5 : 3 + Math.sin(x / 23)) + y / 100 + 0.03 * noise;
});
const map = new DepthMap(values);
const seeded = new DepthMap(values, { seeded: true });

const weights = await seededWeights();
const network = (precision) => JSON.parse(execFileSync(join(build, 'depth_parts_bench'), [weights, precision, String(rounds)], { encoding: 'utf8' }));
const native = { fp32: network('fp32') };
try {
  native.bf16 = network('bf16');
} catch {
  // this processor has no units for it
}
const timed = (work) => () => microseconds(async () => work());
const times = await inTurn(
  {
    'normalised()': timed(() => map.normalised()),
    'mask()': timed(() => map.mask()),
    coverage: timed(() => map.coverage),
    'toPng()': timed(() => map.toPng()),
    'toPng(), seeded weights: with its label': timed(() => seeded.toPng()),
  },
  10 * rounds, // short, and only compiled by V8 after many calls
  200,
);

const own = Object.entries(times).map(([name, list]) => [name, median(list) / 1000]);
const scaled = Object.entries({ '1920 x 1080': 'scale1920x1080', '1920 x 1080, blue first': 'scale1920x1080Bgr', '640 x 480': 'scale640x480' });
const parts = [...scaled.map(([name, key]) => [`scale ${name}`, native.fp32[key]]), ...own];
const all = ['scale 1920 x 1080', 'normalised()', 'mask()', 'coverage', 'toPng()'];
const sum = parts.reduce((total, [name, time]) => total + (all.includes(name) ? time : 0), 0);
const share = (time) => Object.values(native).map((measured) => `${figure((100 * time) / measured.network)} %`);

say('# What there is around the depth network');
say(
  'Written by `npm run bench:depth`. Medians, in milliseconds, and their share of the time that the network takes for a picture of its ' +
    'own size, 304 x 228. Pictures are decoded pixels: decoding is the business of whoever has them encoded. The sum is what one frame of ' +
    '1920 x 1080 costs to whom everything is read out of its map once: scaling, `normalised()`, `mask()`, `coverage` and `toPng()`.',
);
say(machine());
say(
  table(
    ['part', 'ms', ...Object.keys(native).map((precision) => `of the network, ${precision}`)],
    [
      ...parts.map(([name, time]) => [name, figure(time), ...share(time)]),
      ['**the sum**', figure(sum), ...share(sum)],
      ...Object.entries(native).map(([precision, { network: time }]) => [`the network, ${precision}`, figure(time), ...share(time)]),
    ],
  ),
);
say('## Precision');
say(
  "Seeded weights and the two golden pictures. The error is the size of the difference to what the authors' network gives (TensorFlow, " +
    'fp32) by the size of the whole map, each the root of a sum of squares; to fp32, the same with our own map in fp32.',
);
const errors = [];
const exact = new Map();
for (const precision of Object.keys(native)) {
  const depth = await DepthEstimator.load({ weights: 'seeded', precision });
  for (const picture of ['fcrn-a', 'fcrn-b']) {
    const data = Uint8Array.from(seededNumbers(picture, 228 * 304 * 3), (value) => value * 256);
    const { values } = await depth.estimate({ data, width: 304, height: 228, channels: 3 });
    if (precision === 'fp32') exact.set(picture, values);
    const golden = readFileSync(new URL(`../test/golden/fcrn/${picture}.depth.f32`, import.meta.url));
    const theirs = new Float32Array(Uint8Array.from(golden).buffer);
    const apart = [theirs, exact.get(picture)].map((expected) => relativeError(values, expected).toExponential(1));
    errors.push([`${precision}, ${picture}`, ...apart]);
  }
  await depth.close();
}
say(table(['precision, picture', "against the authors' network", 'against fp32'], errors));
write(options.out);

function relativeError(values, expected) {
  const size = (numbers) => Math.hypot(...numbers);
  return size(values.map((value, i) => value - expected[i])) / size(expected);
}
