import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { COLOR_MAPS, type ColorMap } from '../depth/color-map';
import type { DepthMap, Near } from '../depth/depth-map';
import { DepthEstimator, type DepthEstimatorOptions } from '../depth/estimator';
import type { Device } from '../device';
import { openFrames } from '../depth/frames';
import { FaissVisionError } from '../error';
import { decode } from '../image';
import { type Command, type Io, UsageError, exitCode, parse } from './command';

const WEIGHTS = `Weights: the authors' NYU_ResNet-UpProj.npy or TensorFlow checkpoint, from the page of FCRN-DepthPrediction
(https://github.com/iro-cp/FCRN-DepthPrediction), converted once:

  faiss-vision convert NYU_ResNet-UpProj.npy fcrn.safetensors
  faiss-vision depth photo.jpg --weights fcrn.safetensors --out map.png

Without them, --weights seeded shows how everything runs, with made-up numbers and no real depth.`;

const usage = `faiss-vision depth PHOTO... [options]
       faiss-vision depth --watch SOURCE [options]

  --weights FILE      a converted weights file, or seeded: made-up numbers, no real depth
  --out FILE          draw the map as a PNG file, at the photo's size; a folder for several photos
  --side-by-side      draw the photo beside it
  --color-map NAME    ${COLOR_MAPS.join(', ')}; default grey
  --near WAY          high or low: which values are near; default as the weights file says
  --device NAME       cpu (default), cuda or cuda:N
  --precision NAME    fp32 (default) or bf16, and fp16 on a GPU
  --watch SOURCE      a folder of pictures, an MJPEG address (http), a camera's number or a film
                      (these two with the package @u4/opencv4nodejs)
  --json              one line of JSON for each map

${WEIGHTS}`;

const options = {
  weights: { type: 'string' },
  out: { type: 'string' },
  'side-by-side': { type: 'boolean' },
  'color-map': { type: 'string' },
  near: { type: 'string' },
  device: { type: 'string' },
  precision: { type: 'string' },
  watch: { type: 'string' },
  json: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parse<typeof options>>['values'];

async function run(args: string[], io: Io): Promise<number> {
  const { values, positionals: photos } = parse(args, options);
  if (values.watch !== undefined && (photos.length > 0 || values.out !== undefined)) throw new UsageError('--watch takes no photos and no --out');
  if (values.watch === undefined && photos.length === 0) throw new UsageError('no photo was named');
  if (values['color-map'] !== undefined && !COLOR_MAPS.includes(values['color-map'] as ColorMap)) {
    throw new UsageError(`--color-map is one of ${COLOR_MAPS.join(', ')}`);
  }
  if (values.weights === undefined) throw new UsageError(`no weights were named\n\n${WEIGHTS}\n`);
  const depth = await DepthEstimator.load({
    weights: values.weights,
    ...(values.near === undefined ? {} : { near: values.near as Near }),
    ...(values.device === undefined ? {} : { device: values.device as Device }),
    ...(values.precision === undefined ? {} : { precision: values.precision as NonNullable<DepthEstimatorOptions['precision']> }),
  });
  try {
    if (values.watch !== undefined) await watch(depth, values.watch, values, io);
    else await estimate(depth, photos, values, io);
  } finally {
    await depth.close();
  }
  return exitCode.yes;
}

async function estimate(depth: DepthEstimator, photos: string[], values: Values, io: Io): Promise<void> {
  const { out } = values;
  const files = photos.map((photo) => {
    if (out === undefined || photos.length === 1) return out;
    return path.join(out, `${path.parse(photo).name}.depth.png`);
  });
  const twice = files.find((file, i) => file !== undefined && files.indexOf(file) !== i);
  if (twice !== undefined) throw new FaissVisionError('ERR_INVALID_ARGUMENT', `two photos would be drawn into ${twice}`);
  if (out !== undefined && photos.length > 1) await fs.mkdir(out, { recursive: true });
  for (const [i, photo] of photos.entries()) {
    const pixels = await decode(photo, 'photo');
    const map = await depth.estimate(pixels);
    const file = files[i];
    if (file !== undefined) {
      const colorMap = (values['color-map'] ?? 'grey') as ColorMap;
      const { width, height } = pixels;
      const drawn = values['side-by-side'] ? map.sideBySide(pixels, { colorMap }) : map.toPng({ colorMap, size: { width, height } });
      await fs.writeFile(file, await drawn);
    }
    tell(map, photo, values, io, file === undefined ? {} : { out: file });
  }
}

async function watch(depth: DepthEstimator, source: string, values: Values, io: Io): Promise<void> {
  const { frames, recorded } = await openFrames(source);
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  process.once('SIGINT', interrupt);
  try {
    const watched = depth.watch(frames, { signal: interrupted.signal, everyFrame: recorded });
    let event: 'near' | 'clear' | undefined;
    watched.on('near', () => (event = 'near')).on('clear', () => (event = 'clear'));
    for await (const map of watched) {
      tell(map, `frame ${watched.frame}`, values, io, { frame: watched.frame, dropped: watched.dropped, ...(event ? { event } : {}) });
      event = undefined;
    }
    if (!values.json) io.stdout.write(`${watched.received} frames, ${watched.estimated} estimated, ${watched.dropped} dropped\n`);
  } finally {
    process.off('SIGINT', interrupt);
  }
}

/** One line for a map; seeded ones are told apart. */
function tell(map: DepthMap, name: string, { json }: Values, io: Io, more: Record<string, unknown>): void {
  const { coverage, near, seeded } = map;
  if (json) {
    const first = 'frame' in more ? {} : { photo: name };
    io.stdout.write(`${JSON.stringify({ ...first, ...more, near, coverage, ...(seeded ? { seeded: 'no real depth' } : {}) })}\n`);
    return;
  }
  const event = more.event ? `  ${String(more.event).toUpperCase()}` : '';
  const warning = seeded ? '  (seeded weights: no real depth)' : '';
  io.stdout.write(`${name}: ${near ? 'near' : 'not near'}, ${(100 * coverage).toFixed(1)} % of the picture${event}${warning}\n`);
}

export const depth: Command = { name: 'depth', summary: 'depth from one picture, or from a camera', usage, run };
