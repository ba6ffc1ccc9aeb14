import { copyFileSync, closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, truncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DepthEstimator, DepthMap, type DepthEstimatorOptions, type ImageInput } from 'faiss-vision/depth';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { modelPath, modelsFolder } from '../dist/models/cache';
import { fcrnVariables } from '../dist/models/fcrn-variables';
import { seededImage } from './support/seeded';
import { takeAway } from './support/take-away';

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-depth-'));
afterAll(() => rmSync(folder, { recursive: true }));
const error = (code: string, text?: string) =>
  expect.objectContaining({ code, ...(text === undefined ? {} : { message: expect.stringContaining(text) }) });

const picture = (name: string) => ({ data: seededImage(name, 228, 304), width: 304, height: 228, channels: 3 as const });
const grey = (width: number, height: number) => ({ data: new Uint8Array(width * height).fill(99), width, height, channels: 1 as const });
const seeded = () => join(modelsFolder(), 'fcrn-seeded-1.safetensors');

/** Size of the difference by the size of what was expected. */
function relativeError(values: Float32Array, expected: Float32Array): number {
  let [difference, size] = [0, 0];
  for (const [i, value] of expected.entries()) {
    difference += (values[i]! - value) ** 2;
    size += value ** 2;
  }
  return Math.sqrt(difference / size);
}

let depth: DepthEstimator;
let golden: Float32Array;
beforeAll(async () => {
  depth = await DepthEstimator.load({ weights: 'seeded' });
  golden = new Float32Array(Uint8Array.from(readFileSync(join(__dirname, 'golden/fcrn/fcrn-a.depth.f32'))).buffer);
});

/** After whatever went wrong: the estimator gives what the authors' network gives. */
async function intact() {
  expect(relativeError((await depth.estimate(picture('fcrn-a'))).values, golden)).toBeLessThan(1e-4);
}

describe('the network', () => {
  it.each(['fcrn-a', 'fcrn-b'])("%s: the answers of the authors' own", async (name) => {
    const expected = new Float32Array(Uint8Array.from(readFileSync(join(__dirname, `golden/fcrn/${name}.depth.f32`))).buffer);
    const map = await depth.estimate(picture(name));
    expect([map.width, map.height, map.values.length]).toEqual([160, 128, 20480]);
    expect(relativeError(map.values, expected)).toBeLessThan(1e-4);
    expect([map.seeded, depth.seeded, map.nearIs]).toEqual([true, true, 'high']);
  });

  it("its variables are those of the authors' network", () => {
    const { variables } = JSON.parse(readFileSync(join(__dirname, 'golden/fcrn/fcrn.json'), 'utf8'));
    expect(fcrnVariables().map(({ name, shape }) => [name, shape])).toEqual(variables);
  });

  it('in bf16 it is near the reference, or refused where the processor has no units for it', async () => {
    const coarse = await DepthEstimator.load({ weights: 'seeded', precision: 'bf16' }).catch((reason) => reason);
    if (coarse instanceof Error) {
      expect(coarse).toMatchObject({ code: 'ERR_UNSUPPORTED', message: expect.stringContaining('bf16') });
      return;
    }
    const { values } = await coarse.estimate(picture('fcrn-a'));
    expect(relativeError(values, golden)).toBeLessThan(0.05);
    await coarse.close();
  });

  it('reads any picture scaled, not cropped: a picture of blocks is the one that they were made of', async () => {
    const small = picture('fcrn-a');
    const data = new Uint8Array(3 * 912 * 456);
    for (let y = 0; y < 456; y++) {
      for (let x = 0; x < 912; x++) data.set(small.data.subarray(3 * (304 * (y >> 1) + Math.floor(x / 3))).subarray(0, 3), 3 * (912 * y + x));
    }
    const { values } = await depth.estimate({ data, width: 912, height: 456, channels: 3 });
    expect(relativeError(values, golden)).toBeLessThan(1e-4);
  });

  it('interpolates where a picture grows: a slope stays one', async () => {
    const slope = (width: number) => {
      const data = Uint8Array.from({ length: width * 228 }, (_, i) => Math.round((((i % width) + 0.5) / width) * 240));
      return { data, width, height: 228, channels: 1 as const };
    };
    const [wide, narrow] = [await depth.estimate(slope(304)), await depth.estimate(slope(76))];
    // Off by the rounding to bytes and the two edges, where there is nothing to interpolate with.
    expect(relativeError(narrow.values, wide.values)).toBeLessThan(0.02);
    const row = slope(76).data;
    const steps = { ...slope(304), data: Uint8Array.from({ length: 304 * 228 }, (_, i) => row[(i % 304) >> 2]!) };
    const nearest = await depth.estimate(steps);
    expect(relativeError(narrow.values, wide.values)).toBeLessThan(0.5 * relativeError(nearest.values, wide.values));
  });

  it('answers many calls at once, each with its own', async () => {
    const maps = await Promise.all(['fcrn-a', 'fcrn-b', 'fcrn-a'].map((name) => depth.estimate(picture(name))));
    expect(maps[2]!.values).toEqual(maps[0]!.values);
    expect(relativeError(maps[1]!.values, maps[0]!.values)).toBeGreaterThan(1e-3);
  });

  it('warms up, closes after what was called, and is closed then', async () => {
    const other = await DepthEstimator.load({ weights: 'seeded', near: 'low' });
    await other.warmUp();
    await other.warmUp(grey(20, 10));
    const map = other.estimate(picture('fcrn-a'));
    await other.close();
    expect(relativeError((await map).values, golden)).toBeLessThan(1e-4);
    expect((await map).nearIs).toBe('low');
    await expect(other.estimate(grey(2, 2))).rejects.toThrowError(error('ERR_CLOSED'));
    await expect(other.close()).rejects.toThrowError(error('ERR_CLOSED'));
    expect(() => other.watch((async function* () {})())).toThrowError(error('ERR_CLOSED'));
  });
});

describe('a map', () => {
  // Two of six cells have no reading; the others go from 2 to 10.
  const values = Float32Array.of(2, 10, 6, 0, -3, 5);
  const small = (near?: 'high' | 'low') => new DepthMap(values, { width: 3, height: 2, ...(near ? { near } : {}) });

  it('normalises the readings from 0 to 1 and leaves the others out', () => {
    expect([...small().normalised()]).toEqual([0, 1, 0.5, 0, 0, 0.375]);
  });

  it.each([
    ['high', [0, 1, 1, 0, 0, 0]],
    ['low', [1, 0, 1, 0, 0, 1]],
  ] as const)('masks the nearer half where %s is near', (near, mask) => {
    const map = small(near);
    expect([...map.mask()]).toEqual(mask);
    expect(map.coverage).toBe(mask.reduce<number>((sum, cell) => sum + cell, 0) / 6);
    expect(map.near).toBe(near === 'low');
  });

  it('alerts above 0.35, not at it: 7,169 cells of 20,480 and not 7,168', () => {
    const cells = (count: number) => new DepthMap(new Float32Array(20480).fill(1).fill(3, 0, count));
    expect([cells(7168).coverage, cells(7168).near]).toEqual([0.35, false]);
    expect([cells(7169).coverage, cells(7169).near]).toEqual([7169 / 20480, true]);
  });

  it.each([
    ['no reading', new Float32Array(6)],
    ['one reading', Float32Array.of(0, 0, 4, 0, 0, 0)],
    ['equal readings', new Float32Array(6).fill(7)],
    ['no numbers', new Float32Array(6).fill(NaN)],
  ])('of %s is 0 everywhere, whichever way is near', (_, numbers) => {
    for (const near of ['high', 'low'] as const) {
      const map = new DepthMap(numbers, { width: 3, height: 2, near });
      expect([...map.normalised(), ...map.mask()]).toEqual(new Array(12).fill(0));
      expect([map.coverage, map.near]).toEqual([0, false]);
    }
  });

  it('is drawn: the nearest white, the farthest black, what has no reading transparent', async () => {
    const pixels = async (map: DepthMap) => [...(await sharp(await map.toPng()).raw().toBuffer())];
    expect(await pixels(small())).toEqual([0, 0, 0, 255, 255, 255, 255, 255, 128, 128, 128, 255, 0, 0, 0, 0, 0, 0, 0, 0, 96, 96, 96, 255]);
    expect((await pixels(small('low'))).slice(0, 8)).toEqual([255, 255, 255, 255, 0, 0, 0, 255]);
    const viridis = await sharp(await small().toPng({ colorMap: 'viridis' })).raw().toBuffer();
    expect([...viridis.subarray(0, 8)]).toEqual([68, 1, 84, 255, 253, 231, 37, 255]);
  });

  it("is drawn at the photo's size and beside it", async () => {
    const large = await sharp(await small().toPng({ colorMap: 'heat', size: { width: 60, height: 40 } })).metadata();
    expect([large.width, large.height]).toEqual([60, 40]);
    const red = { data: new Uint8Array(30 * 20 * 3).map((_, i) => (i % 3 === 0 ? 200 : 10)), width: 30, height: 20, channels: 3 as const };
    for (const photo of [red, { ...red, data: red.data.map((_, i) => (i % 3 === 2 ? 200 : 10)), order: 'bgr' as const }]) {
      const both = await sharp(await small().sideBySide(photo)).raw().toBuffer({ resolveWithObject: true });
      expect([both.info.width, both.info.height]).toEqual([60, 20]);
      expect([...both.data.subarray(0, 4)]).toEqual([200, 10, 10, 255]);
      expect([...both.data.subarray(4 * 30, 4 * 31)]).toEqual([0, 0, 0, 255]);
    }
    expect((await sharp(await small().sideBySide(grey(9, 7))).metadata()).width).toBe(18);
  });

  it('made with seeded weights says so in every picture', async () => {
    const plain = new DepthMap(new Float32Array(20480).fill(2));
    const marked = new DepthMap(plain.values, { seeded: true });
    const bottom = async (png: Buffer, width: number) => [...(await sharp(png).raw().toBuffer())].slice(-4 * width, -4 * width + 3);
    expect(await bottom(await plain.toPng(), 160)).toEqual([0, 0, 0]);
    expect(await bottom(await marked.toPng(), 160)).toEqual([140, 0, 0]);
    const both = await sharp(await marked.sideBySide(grey(200, 100))).raw().toBuffer({ resolveWithObject: true });
    expect([...both.data.subarray(4 * (400 * 99 + 200), 4 * (400 * 99 + 200) + 3)]).toEqual([140, 0, 0]);
  });

  it.each([
    ['a wrong length', () => new DepthMap(new Float32Array(5)), '`values` must be a Float32Array of width * height = 20480'],
    ['an array', () => new DepthMap([1] as unknown as Float32Array, { width: 1, height: 1 }), '`values`'],
    ['a side', () => new DepthMap(values, { width: 1.5, height: 4 }), '`width`'],
    ['a way', () => new DepthMap(values, { width: 3, height: 2, near: 'left' as 'low' }), '`near`'],
  ])('%s is refused', (_, make, text) => {
    expect(make).toThrowError(error('ERR_INVALID_ARGUMENT', text));
  });

  it.each([
    [{ colorMap: 'pink' }, '`colorMap`'],
    [{ size: { width: 0, height: 3 } }, '`size.width`'],
    [{ size: { width: 3, height: 40000 } }, '`size.height`'],
  ])('is not drawn with %j', async (options, text) => {
    await expect(small().toPng(options as never)).rejects.toThrowError(error('ERR_INVALID_ARGUMENT', text));
  });
});

describe('pictures', () => {
  it.each([
    ['1 x 1', grey(1, 1)],
    ['1 x 3000', grey(1, 3000)],
    ['3000 x 1', grey(3000, 1)],
    ['303 x 229', grey(303, 229)],
    ['305 x 227', grey(305, 227)],
    ['fully transparent', { data: new Uint8Array(400 * 400 * 4), width: 400, height: 400, channels: 4 as const }],
  ])('of %s have a map', async (_, image) => {
    const map = await depth.estimate(image);
    expect(map.values.every(Number.isFinite)).toBe(true);
    // They are all of one colour, and so are their maps.
    const wide = await depth.estimate({ ...grey(304, 228), data: new Uint8Array(304 * 228).fill(image.channels === 4 ? 255 : 99) });
    expect(relativeError(map.values, wide.values)).toBeLessThan(1e-4);
    await intact();
  });

  it.each([
    ['a missing file', join(folder, 'missing.jpg'), 'ERR_IMAGE_NOT_FOUND'],
    ['no bytes', new Uint8Array(), 'ERR_IMAGE_EMPTY'],
    ['text', Buffer.from('this is no picture'), 'ERR_IMAGE_DECODE'],
    ['raw pixels of a wrong length', { ...grey(10, 10), height: 11 }, 'ERR_INVALID_ARGUMENT'],
    ['nothing', undefined, 'ERR_INVALID_ARGUMENT'],
  ])('%s is refused', async (_, image, code) => {
    await expect(depth.estimate(image as ImageInput)).rejects.toThrowError(error(code));
    await intact();
  });

  it('transferred away during the call: the answer to its earlier contents', async () => {
    const { data, width, height, channels } = picture('fcrn-a');
    const map = depth.estimate({ data, width, height, channels });
    takeAway(data.buffer);
    expect(relativeError((await map).values, golden)).toBeLessThan(1e-4);
  });
});

describe('options and weights', () => {
  const load = (options: unknown) => DepthEstimator.load(options as DepthEstimatorOptions);

  /** The seeded file with a change. */
  const changed = (name: string, change: (path: string) => void) => {
    const path = join(folder, name);
    copyFileSync(seeded(), path);
    change(path);
    return path;
  };
  /** Other text of the same length in the header. */
  const replace = (path: string, from: string, to: string) => {
    const file = openSync(path, 'r+');
    const header = Buffer.alloc(65536);
    readSync(file, header, 0, header.length, 0);
    const at = header.indexOf(from);
    expect([at > 0, to.length]).toEqual([true, from.length]);
    writeSync(file, to, at);
    closeSync(file);
  };

  it.each([
    ['nothing', undefined, 'ERR_INVALID_ARGUMENT', 'FCRN-DepthPrediction'],
    ['no weights', {}, 'ERR_INVALID_ARGUMENT', 'faiss-vision convert'],
    ['cuda', { weights: 'seeded', device: 'cuda' }, 'ERR_CUDA_UNAVAILABLE', 'no CUDA'],
    ['a device', { weights: 'seeded', device: 'tpu' }, 'ERR_INVALID_ARGUMENT', '`device`'],
    ['fp16', { weights: 'seeded', precision: 'fp16' }, 'ERR_UNSUPPORTED', 'CUDA'],
    ['a precision', { weights: 'seeded', precision: 'fp8' }, 'ERR_INVALID_ARGUMENT', '`precision`'],
    ['a way', { weights: 'seeded', near: 'left' }, 'ERR_INVALID_ARGUMENT', '`near`'],
    ['missing weights', { weights: '/no/such/file' }, 'ERR_WEIGHTS_NOT_FOUND', 'FCRN-DepthPrediction'],
    ['weights of another network', { weights: modelPath('resnet128') }, 'ERR_WEIGHTS_MISMATCH', 'resnet128'],
  ])('%s is refused', async (_, options, code, text) => {
    await expect(load(options)).rejects.toThrowError(error(code, text));
  });

  it('weights cut short, or with a variable missing, are refused by name', async () => {
    const cut = changed('cut.safetensors', (path) => truncateSync(path, 100_000_000));
    await expect(load({ weights: cut })).rejects.toThrowError(error('ERR_WEIGHTS_CORRUPT', 'cut.safetensors'));
    rmSync(cut);
    const missing = changed('missing.safetensors', (path) => replace(path, '"layer8x_Conv/biases"', '"layer8x_Conv/biasez"'));
    await expect(load({ weights: missing })).rejects.toThrowError(error('ERR_WEIGHTS_MISMATCH', 'layer8x_Conv/biases [128] is missing'));
    rmSync(missing);
    await intact();
  });

  it("the file's metadata say which way is near, and the option overrides them", async () => {
    // The same length as the seeded file's own metadata.
    const low = changed('low.safetensors', (path) => replace(path, '"source":"seeded"', '"near":  "low"   '));
    const estimator = await load({ weights: low });
    expect([estimator.near, estimator.seeded]).toEqual(['low', false]);
    await estimator.close();
    const other = await load({ weights: low, near: 'high' });
    expect(other.near).toBe('high');
    await other.close();
    rmSync(low);
  });
});
