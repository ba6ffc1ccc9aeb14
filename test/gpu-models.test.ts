import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Index } from 'faiss-vision/ann';
import { DepthEstimator } from 'faiss-vision/depth';
import { DeviceFeatures, FaceRecognizer } from 'faiss-vision/face';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { visionAddon } from '../dist/addon';
import { decode } from '../dist/image';
import { photosFolder } from '../dist/models/cache';
import { expectGolden, photos } from './support/mtcnn-golden';
import { seededImage } from './support/seeded';
import { score, seeded } from './support/vectors';

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

  it('are told where they are looked for', () => expect([recognizer.device, ours.device]).toEqual([device, 'cpu']));

  it('of many that wait, belong to the calls that asked for them', async () => {
    const pictures = await Promise.all([0, 1, 2].map(async (i) => decode(photo(photos[i]![0]))));
    const alone = [];
    for (const pixels of pictures) alone.push(await recognizer.faces(pixels));
    // Every other one as a file, and a call for another network, which has its own turn among them.
    const calls = Array.from({ length: 12 }, (_, i) => recognizer.faces(i % 2 === 0 ? pictures[i % 3]! : photo(photos[i % 3]![0])));
    const embedded = recognizer.embed(new Uint8Array(3 * recognizer.chipSize ** 2));
    const found = await Promise.all(calls);
    for (const [i, faces] of found.entries()) {
      expect(faces).toHaveLength(alone[i % 3]!.length);
      faces.forEach((face, k) => expect(Math.abs(face.box.x - alone[i % 3]![k]!.box.x)).toBeLessThan(0.01));
    }
    expect(await embedded).toHaveLength(recognizer.dimension);
  });

  it('that are being looked for when it is closed, are found', async () => {
    const own = await FaceRecognizer.load({ model: 'resnet128', device });
    const pixels = await decode(photo('face_recognition/obama.jpg'));
    const calls = Array.from({ length: 10 }, () => own.faces(pixels, { maxFaces: 1 }));
    await own.close();
    for (const faces of await Promise.all(calls)) expect(faces).toHaveLength(1);
    await expect(own.faces(pixels)).rejects.toMatchObject({ code: 'ERR_CLOSED' });
  });

  it('that are being looked for when their thread ends, hold nobody up', async () => {
    const child = join(__dirname, 'support/faces-in-flight.cjs');
    const { status, stdout, stderr } = spawnSync(process.execPath, [child, device], { encoding: 'utf8', timeout: 240_000 });
    expect({ status, stdout, stderr }).toMatchObject({ status: 0, stdout: 'ended\nended\n' });
  });

  it('leave no memory behind where their model cannot be loaded', () => {
    const child = join(__dirname, 'support/failing-loads.cjs');
    const { status, stdout, stderr } = spawnSync(process.execPath, [child, device], { encoding: 'utf8', timeout: 240_000 });
    expect({ status, stderr }).toMatchObject({ status: 0 });
    const { code, grown } = JSON.parse(stdout) as { code: string; grown: number };
    expect(code).toBe('ERR_NOT_FINITE');
    expect(grown).toBeLessThan(150); // MiB, where six loads take twice 20 MiB each
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

describe.each(cuda === undefined ? ['torch', 'cuda'] : ['torch'])('features that stay on the device %s', (name) => {
  const device = name as never;
  let recognizer: FaceRecognizer;
  let chips: Uint8Array;
  let array: Float32Array;
  beforeAll(async () => {
    recognizer = await FaceRecognizer.load({ model: 'resnet128', device });
    const chip = (name: string) => readFileSync(join(__dirname, `golden/resnet128/${name}.150x150.rgb`));
    chips = Buffer.concat(['obama.jpg', 'biden.jpg', 'obama3.jpg'].map(chip));
    array = await recognizer.embed(chips);
  });
  afterAll(() => recognizer.close());
  const keep = () => recognizer.embed(chips, { keepOnDevice: true });

  it('are the same numbers', async () => {
    const features = await keep();
    expect(features).toBeInstanceOf(DeviceFeatures);
    expect({ ...features }).toEqual({ device: name === 'cuda' ? 'cuda:0' : 'cpu', count: 3, dimension: 128 });
    expect(await features.toArray()).toEqual(array);
    expect(await recognizer.embed(chips, { keepOnDevice: false })).toEqual(array);
  });

  it.each(['Flat', 'IDMap2,Flat', 'PCA32,Flat', 'IVF2,Flat', 'HNSW8'])('are added to and searched in %s as an array is', async (kind) => {
    const more = seeded(128 * 200, 7);
    // One index for both: several threads train and build, so no two of them need to be the same.
    const index = Index.factory(128, kind);
    const ids = (first: number, n: number) => (kind.startsWith('IDMap') ? Array.from({ length: n }, (_, i) => first + i) : undefined);
    await index.train(more);
    await index.add(more, ids(0, 200));
    const features = await keep();
    await index.add(features, ids(200, 3));
    index.addSync(features, ids(203, 3));
    await index.add(array, ids(206, 3));
    index.addSync(array, ids(209, 3));
    expect(index.ntotal).toBe(212);
    const added = await index.reconstructBatch(Array.from({ length: 12 }, (_, i) => 200 + i));
    expect(added.subarray(0, 6 * 128)).toEqual(added.subarray(6 * 128));
    const expected = await index.search(array, 4);
    expect(await index.search(features, 4)).toEqual(expected);
    expect(index.searchSync(features, 4)).toEqual(expected);
    const options = { signal: new AbortController().signal, ...(kind !== 'HNSW8' && { filter: { keep: { from: 0, to: 150 } } }) };
    expect(await index.search(features, 4, options)).toEqual(await index.search(array, 4, options));
  });

  it('are kept by the calls that were given them, then given back', async () => {
    const index = Index.factory(128, 'Flat');
    await index.add(seeded(128 * 5000, 8));
    const features = await keep();
    const expected = await index.search(array, 3);
    const searches = Array.from({ length: 20 }, () => index.search(features, 3));
    const added = index.add(features);
    features.dispose();
    features.dispose();
    for (const found of await Promise.all(searches)) expect(found).toEqual(expected);
    await added;
    expect((await index.search(array, 1)).labels).toEqual(BigInt64Array.of(5000n, 5001n, 5002n));
    for (const call of [() => index.search(features, 1), () => index.add(features), () => features.toArray()]) {
      await expect(call()).rejects.toMatchObject({ code: 'ERR_CLOSED' });
    }
    expect(() => index.searchSync(features, 1)).toThrowError(expect.objectContaining({ code: 'ERR_CLOSED' }));
  });

  it('outlive their recogniser', async () => {
    const own = await FaceRecognizer.load({ model: 'resnet128', device });
    const features = await own.embed(chips, { keepOnDevice: true });
    await own.close();
    expect(await features.toArray()).toEqual(array);
  });

  it('have clear errors', async () => {
    const features = await keep();
    await expect(Index.factory(64, 'Flat').search(features, 1)).rejects.toMatchObject({
      code: 'ERR_DIMENSION_MISMATCH', message: '`vectors` must hold vectors of 64 numbers, got vectors of 128',
    });
    const message = expect.stringContaining('`ids`') as string;
    await expect(Index.factory(128, 'IDMap2,Flat').add(features, [1])).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message });
    // What another thread would get of them.
    await expect(Index.factory(128, 'Flat').search(structuredClone(features), 1)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
    await expect(recognizer.embed(chips.subarray(1), { keepOnDevice: true })).rejects.toMatchObject({ code: 'ERR_DIMENSION_MISMATCH' });
    for (const options of [null, 1, { keepOnDevice: 1 }]) {
      await expect(recognizer.embed(chips, options as never)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
    }
    const processor = await FaceRecognizer.load({ model: 'resnet128' });
    await expect(processor.embed(chips, { keepOnDevice: true })).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
    await processor.close();
  });

  it('are collected while searches read them, and when their thread ends', () => {
    const child = join(__dirname, 'support/kept-features.cjs');
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', child, device], { encoding: 'utf8' });
    expect({ status, stdout, stderr }).toMatchObject({ status: 0, stdout: 'searched 200\nended\n' });
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
  });
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

  it.skipIf(cuda === undefined)('says why nvJPEG cannot decode', async () => {
    const reason = { code: 'ERR_CUDA_UNAVAILABLE', message: expect.stringMatching(/^nvJPEG cannot be used: .+/) };
    await expect(FaceRecognizer.load({ model: 'resnet128', device, decoder: 'cuda' })).rejects.toMatchObject(reason);
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
  });
});
