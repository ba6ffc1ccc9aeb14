import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DepthEstimator } from 'faiss-vision/depth';
import { FaceRecognizer } from 'faiss-vision/face';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { visionAddon } from '../dist/addon';
import { photosFolder } from '../dist/models/cache';
import { expectGolden, photos } from './support/mtcnn-golden';
import { seededImage } from './support/seeded';
import { score } from './support/vectors';

// What a GPU would compute, by torch's own operations on the processor: the same code with another device.
const device = 'torch' as never;
const photo = (name: string) => join(photosFolder(), name);

const cuda: string | undefined = await visionAddon()
  .checkDevice('cuda')
  .then(() => undefined, (error: Error) => error.message);

describe('faces', () => {
  let recognizer: FaceRecognizer;
  let ours: FaceRecognizer;
  beforeAll(async () => {
    recognizer = await FaceRecognizer.load({ model: 'resnet128', device });
    ours = await FaceRecognizer.load({ model: 'resnet128' });
  });
  afterAll(() => Promise.all([recognizer.close(), ours.close()]));

  it('of all photos at once, are facenet-pytorch\'s, and features are the processor\'s', async () => {
    const found = await Promise.all(photos.map(([name]) => recognizer.faces(photo(name))));
    for (const [i, [name, { faces: expected }]] of photos.entries()) {
      expectGolden(found[i]!, expected);
      if (i % 4 !== 0) continue; // the processor's own were held to the same by faces.test.ts
      const own = await ours.faces(photo(name));
      expect(found[i]).toHaveLength(own.length);
      own.forEach((face, k) => {
        expect(score(face.features, found[i]![k]!.features, 'l2')).toBeLessThan(1e-3);
        expect(Math.abs(face.box.x - found[i]![k]!.box.x)).toBeLessThan(0.01);
      });
    }
  });

  it('in a part of a picture, and the largest alone', async () => {
    const image = photo('face_recognition/obama.jpg');
    const options = { region: { x: 300, y: 0, width: 500, height: 600 }, maxFaces: 1 };
    const [[face], [own]] = await Promise.all([recognizer.faces(image, options), ours.faces(image, options)]);
    expect(score(face!.features, own!.features, 'l2')).toBeLessThan(1e-3);
  });

  it('gives bad pictures a clear error, and goes on', async () => {
    await expect(recognizer.faces(readFileSync(photo('face_recognition/obama.jpg')), { region: { x: 0, y: 0, width: 5000, height: 1 } }))
      .rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
    expect(await recognizer.faces({ data: new Uint8Array(300), width: 10, height: 10, channels: 3 })).toEqual([]);
  });
});

describe('depth', () => {
  it('of pictures that wait together, is what the processor gives for each', async () => {
    const [depth, ours] = await Promise.all([DepthEstimator.load({ weights: 'seeded', device }), DepthEstimator.load({ weights: 'seeded' })]);
    const pictures = [[304, 228], [400, 90]].map(([width, height], i) => ({ data: seededImage(`${i}`, height!, width!), width: width!, height: height!, channels: 3 as const }));
    const maps = await Promise.all(pictures.map((picture) => depth.estimate(picture)));
    for (const [i, picture] of pictures.entries()) {
      const { values } = await ours.estimate(picture);
      const largest = Math.max(...values);
      values.forEach((value, k) => expect(Math.abs(value - maps[i]!.values[k]!)).toBeLessThan(1e-4 * largest));
    }
    await Promise.all([depth.close(), ours.close()]);
  }, 60_000);
});

describe('without a GPU', () => {
  it.skipIf(cuda === undefined)('says why', async () => {
    for (const load of [
      () => FaceRecognizer.load({ model: 'resnet128', device: 'cuda' }),
      () => DepthEstimator.load({ weights: 'seeded', device: 'cuda:7', precision: 'fp16' }),
    ]) {
      await expect(load()).rejects.toMatchObject({ code: 'ERR_CUDA_UNAVAILABLE', message: expect.stringMatching(/^`device` 'cuda:[07]' cannot be used: .+/) });
    }
  });

  it('takes no other device', async () => {
    for (const other of ['tpu', 'cuda:', 'cuda:1234', 'cuda:-1', 5, null]) {
      await expect(FaceRecognizer.load({ model: 'resnet128', device: other as never })).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
    }
  });
});

describe.skipIf(cuda !== undefined)(`on a GPU${cuda === undefined ? '' : ` (skipped: ${cuda})`}`, () => {
  it.each(['fp32', 'fp16', 'bf16'] as const)('finds the same faces in %s', async (precision) => {
    const recognizer = await FaceRecognizer.load({ model: 'resnet128', device: 'cuda', precision });
    const ours = await FaceRecognizer.load({ model: 'resnet128' });
    const found = await Promise.all(photos.map(([name]) => recognizer.faces(photo(name))));
    for (const [i, [name, { faces: expected }]] of photos.entries()) {
      if (precision !== 'bf16') expectGolden(found[i]!, expected);
      const [own] = await ours.faces(photo(name), { maxFaces: 1 });
      if (own) expect(score(own.features, found[i]![0]!.features, 'l2')).toBeLessThan(precision === 'fp32' ? 1e-3 : 0.25);
    }
    await Promise.all([recognizer.close(), ours.close()]);
  }, 120_000);
});
