import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ann } from 'faiss-vision/ann';
import { FaceRecognizer, type FaceRecognizerOptions, type ImageInput } from 'faiss-vision/face';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decode } from '../dist/image';
import { modelPath, photosFolder } from '../dist/models/cache';
import { takeAway } from './support/take-away';

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-face-'));
afterAll(() => rmSync(folder, { recursive: true }));
const error = (code: string, text?: string) =>
  expect.objectContaining({ code, ...(text === undefined ? {} : { message: expect.stringContaining(text) }) });

let recognizer: FaceRecognizer;
let ann: Ann;
const ada = join(photosFolder(), 'face_recognition/obama2.jpg');
beforeAll(async () => {
  recognizer = await FaceRecognizer.load({ model: 'resnet128' });
  ann = new Ann({ dimension: recognizer.dimension, threshold: recognizer.threshold, metric: 'l2' });
  await ann.add((await recognizer.faces(ada))[0]!.features, 7);
});

/** After whatever went wrong: the recogniser works, and who was enrolled is still there. */
async function intact() {
  const [decision] = await ann.search((await recognizer.faces(ada))[0]!.features);
  expect(decision).toMatchObject({ found: true, index: 7, score: 0 });
}

describe('pictures', () => {
  const file = (name: string, bytes: Uint8Array) => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  const jpeg = () => readFileSync(ada);
  const grey = (width: number, height: number) => ({ data: new Uint8Array(width * height).fill(99), width, height, channels: 1 as const });

  const refused: [string, () => unknown, string][] = [
    ['a missing file', () => join(folder, 'missing.jpg'), 'ERR_IMAGE_NOT_FOUND'],
    ['a folder', () => folder, 'ERR_IMAGE_NOT_FOUND'],
    ['an empty file', () => file('empty.jpg', new Uint8Array()), 'ERR_IMAGE_EMPTY'],
    ['no bytes', () => new Uint8Array(), 'ERR_IMAGE_EMPTY'],
    ['a JPEG cut in half', () => jpeg().subarray(0, jpeg().length >> 1), 'ERR_IMAGE_DECODE'],
    ['a JPEG file cut in half', () => file('half.jpg', jpeg().subarray(0, jpeg().length >> 1)), 'ERR_IMAGE_DECODE'],
    ['text', () => Buffer.from('this is no picture'), 'ERR_IMAGE_DECODE'],
    ['a number', () => 7, 'ERR_INVALID_ARGUMENT'],
    ['nothing', () => undefined, 'ERR_INVALID_ARGUMENT'],
    ['raw pixels of a wrong length', () => ({ ...grey(10, 10), height: 11 }), 'ERR_INVALID_ARGUMENT'],
    ['raw pixels of 20,000 x 20,000', () => ({ ...grey(1, 1), width: 20_000, height: 20_000 }), 'ERR_IMAGE_TOO_LARGE'],
    ['a picture of 20,000 x 20,000', () => sharp({ create: { width: 20_000, height: 20_000, channels: 3, background: 'red' }, limitInputPixels: false }).png({ compressionLevel: 1 }).toBuffer(), 'ERR_IMAGE_TOO_LARGE'],
  ];
  it.each(refused)('%s is refused', async (_, make, code) => {
    await expect(recognizer.faces((await make()) as ImageInput)).rejects.toThrowError(error(code));
    await intact();
  });

  it('of more pixels than a recogniser takes is refused by its header', async () => {
    const limited = await FaceRecognizer.load({ model: 'resnet128', maxPixels: 626 * 1200 - 1 });
    await expect(limited.faces(ada)).rejects.toThrowError(error('ERR_IMAGE_TOO_LARGE', 'the limit is 751199 pixels'));
    await limited.close();
    const whole = await FaceRecognizer.load({ model: 'resnet128', maxPixels: 626 * 1200 });
    expect([whole.maxPixels, (await whole.faces(ada)).length]).toEqual([751_200, 1]);
    await whole.close();
    for (const maxPixels of [0, 1.5, 2 ** 26 + 1, '9' as unknown as number]) {
      await expect(FaceRecognizer.load({ model: 'resnet128', maxPixels })).rejects.toThrowError(error('ERR_INVALID_ARGUMENT', '`maxPixels`'));
    }
  });

  const faceless: [string, ImageInput][] = [
    ['1 x 1', grey(1, 1)],
    ['1 x 3000', grey(1, 3000)],
    ['3000 x 1', grey(3000, 1)],
    ['11 x 11', grey(11, 11)],
    ['one colour', grey(800, 600)],
    ['noise', { data: Uint8Array.from({ length: 300 * 300 * 3 }, (_, i) => Math.imul(i, 0x9e3779b9) >>> 24), width: 300, height: 300, channels: 3 }],
    ['fully transparent', { data: new Uint8Array(400 * 400 * 4), width: 400, height: 400, channels: 4 }],
  ];
  it.each(faceless)('%s has no face', async (_, image) => {
    expect(await recognizer.faces(image)).toEqual([]);
    await intact();
  });

  it('of 8,000 x 8,000 is searched', async () => {
    const face = await sharp(ada).resize(600).raw().toBuffer({ resolveWithObject: true });
    const width = 8000;
    const data = new Uint8Array(width * width * 3).fill(128);
    for (let y = 0; y < face.info.height; y++) {
      data.set(face.data.subarray(y * 600 * 3, (y + 1) * 600 * 3), ((5000 + y) * width + 5000) * 3);
    }
    const faces = await recognizer.faces({ data, width, height: width, channels: 3 });
    expect(faces).toHaveLength(1);
    expect(faces[0]!.box.x).toBeGreaterThan(5000);
    expect((await ann.search(faces[0]!.features))[0]).toMatchObject({ found: true, index: 7 });
  });

  it('transferred away during the call: the answer to its earlier contents, or an error', async () => {
    const { data, info } = await sharp(ada).raw().toBuffer({ resolveWithObject: true });
    const pixels = new Uint8Array(data);
    const faces = recognizer.faces({ data: pixels, width: info.width, height: info.height, channels: 3 });
    takeAway(pixels.buffer);
    expect((await ann.search((await faces)[0]!.features))[0]).toMatchObject({ found: true, index: 7, score: 0 });
  });
});

describe('chips', () => {
  it.each([
    ['of a wrong size', new Uint8Array(149 * 150 * 3), 'ERR_DIMENSION_MISMATCH'],
    ['none', new Uint8Array(), 'ERR_DIMENSION_MISMATCH'],
    ['floats', new Float32Array(150 * 150 * 3) as unknown as Uint8Array, 'ERR_INVALID_ARGUMENT'],
    ['nothing', undefined as unknown as Uint8Array, 'ERR_INVALID_ARGUMENT'],
  ])('%s', async (_, chips, code) => {
    await expect(recognizer.embed(chips)).rejects.toThrowError(error(code));
    await intact();
  });
});

describe('options and weights', () => {
  const load = (options: unknown) => FaceRecognizer.load(options as FaceRecognizerOptions);
  const copy = (name: string, change: (path: string) => void) => {
    const path = join(folder, name);
    copyFileSync(modelPath('resnet128'), path);
    change(path);
    return path;
  };

  it.each([
    ['nothing', undefined, 'ERR_INVALID_ARGUMENT', '`model` must be a string, got undefined'],
    ['an unknown model', { model: 'resnet129' }, 'ERR_UNKNOWN_MODEL', 'resnet128'],
    ['cuda', { model: 'resnet128', device: 'cuda' }, 'ERR_CUDA_UNAVAILABLE', 'no CUDA'],
    ['a device', { model: 'resnet128', device: 'tpu' }, 'ERR_INVALID_ARGUMENT', '`device`'],
    ['a precision', { model: 'resnet128', precision: 'fp8' }, 'ERR_INVALID_ARGUMENT', '`precision`'],
    ['a decoder', { model: 'resnet128', decoder: 'nvjpeg' }, 'ERR_INVALID_ARGUMENT', '`decoder`'],
    ["a GPU's decoder on the processor", { model: 'resnet128', decoder: 'cuda' }, 'ERR_UNSUPPORTED', '`decoder`'],
    ['maxFaces', { model: 'resnet128', maxFaces: 2 ** 40 }, 'ERR_INVALID_ARGUMENT', 'maxFaces'],
    ['minFaceSize', { model: 'resnet128', minFaceSize: -3 }, 'ERR_INVALID_ARGUMENT', 'minFaceSize'],
    ['missing weights', { model: 'resnet128', weights: '/no/such/file' }, 'ERR_WEIGHTS_NOT_FOUND', '/no/such/file'],
    ['weights of another model', { model: 'resnet128', weights: modelPath('mtcnn') }, 'ERR_WEIGHTS_MISMATCH', 'mtcnn'],
  ])('%s', async (_, options, code, text) => {
    await expect(load(options)).rejects.toThrowError(error(code, text));
    await intact();
  });

  it.each([
    ['empty', (path: string) => truncateSync(path, 0)],
    ['cut to 7 bytes', (path: string) => truncateSync(path, 7)],
    ['cut in the header', (path: string) => truncateSync(path, 1000)],
    ['cut in half', (path: string) => truncateSync(path, 11_000_000)],
    ['text', (path: string) => writeFileSync(path, 'this is no model, just some text')],
  ])('weights: %s', async (name, change) => {
    const weights = copy(name.replaceAll(' ', '-'), change);
    await expect(load({ model: 'resnet128', weights })).rejects.toThrowError(error('ERR_WEIGHTS_CORRUPT', weights));
    await intact();
  });
});

describe('the memory of a decoded picture', () => {
  it('is free as soon as the picture was looked at, and one that was handed over stays', async () => {
    const large = await sharp({ create: { width: 3000, height: 2000, channels: 3, background: 'grey' } }).jpeg().toBuffer();
    const external = () => process.memoryUsage().external / 2 ** 20;
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = external();
    await recognizer.faces(large, { minFaceSize: 290 }); // which asks for all of its pixels
    for (let i = 0; i < 50 && external() - before >= 8; i++) await new Promise((resolve) => setTimeout(resolve, 20)); // Node frees it a little later
    expect(external() - before).toBeLessThan(8); // of 17 MiB
    const pixels = await decode(large);
    expect(await recognizer.faces(pixels, { minFaceSize: 400 })).toEqual([]);
    expect(pixels.data).toHaveLength(3000 * 2000 * 3);
    await intact();
  });
});

describe('warmUp', () => {
  it('leaves nothing for the first photo to load', () => {
    const script = `
      const { FaceRecognizer } = require('faiss-vision/face');
      const loaded = () => [...Object.keys(require.cache), ...process.report.getReport().sharedObjects].sort();
      (async () => {
        const recognizer = await FaceRecognizer.load({ model: 'resnet128' });
        await recognizer.warmUp();
        const before = loaded();
        await recognizer.faces(process.argv[1]);
        console.log(JSON.stringify(loaded().filter((each) => !before.includes(each))));
      })();`;
    expect(JSON.parse(execFileSync(process.execPath, ['-e', script, ada], { encoding: 'utf8' }))).toEqual([]);
  });

  it('takes two pictures', async () => {
    await recognizer.warmUp([ada, { data: new Uint8Array(3), width: 1, height: 1, channels: 3 }]);
    for (const images of [null, 5, 'ab', [], [ada], [ada, ada, ada], [5, ada]]) {
      await expect(recognizer.warmUp(images as never)).rejects.toThrowError(error('ERR_INVALID_ARGUMENT', 'images'));
    }
    await expect(recognizer.warmUp([ada, '/no/such/file'])).rejects.toThrowError(error('ERR_IMAGE_NOT_FOUND', 'images[1]'));
    await intact();
  });
});

describe('close', () => {
  it('lets what was called before end, and refuses what comes after', async () => {
    const own = await FaceRecognizer.load({ model: 'resnet128' });
    const faces = own.faces(ada);
    const closed = own.close();
    await expect(own.embed(new Uint8Array(150 * 150 * 3))).rejects.toThrowError(error('ERR_CLOSED'));
    await expect(own.faces(ada)).rejects.toThrowError(error('ERR_CLOSED'));
    await expect(own.close()).rejects.toThrowError(error('ERR_CLOSED'));
    expect(await faces).toHaveLength(1);
    await closed;
    await intact();
  });
});
