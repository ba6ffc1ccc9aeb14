import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { FaceRecognizer } from 'faiss-vision/face';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { photosFolder } from '../dist/models/cache';
import { weightsPath } from '../dist/face/weights';
import { decodeSafetensors, writeSafetensors } from '../dist/models/safetensors';
import { seededImage } from './support/seeded';
import { facenetTensors, seededFacenet } from './support/seeded-weights';
import { score } from './support/vectors';

const photo = (name: string) => join(photosFolder(), 'face_recognition', name);
const names = ['face-a', 'face-b', 'face-c'];

function golden(name: string): Float32Array {
  return new Float32Array(new Uint8Array(readFileSync(join(__dirname, `golden/facenet/${name}.embedding.f32`))).buffer);
}

function cosine(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

let weights: Awaited<ReturnType<typeof seededFacenet>>;
let recognizer: FaceRecognizer;
beforeAll(async () => {
  weights = await seededFacenet();
  recognizer = await FaceRecognizer.load({ model: 'facenet', weights: weights.file });
});
afterAll(async () => {
  await recognizer?.close();
  weights?.remove();
});

describe('FaceNet against facenet-pytorch 2.6.0', () => {
  it('says what it is', () => {
    expect([recognizer.dimension, recognizer.chipSize, recognizer.metric]).toEqual([512, 160, 'l2']);
    expect(recognizer.threshold).toBeCloseTo(Math.sqrt(1.242), 6);
    expect(recognizer.thresholdSource).toMatch(/Schroff/);
  });

  it.each(names)('%s', async (name) => {
    const features = await recognizer.embed(seededImage(name, 160, 160));
    golden(name).forEach((value, i) => expect(Math.abs(features[i]! - value)).toBeLessThan(1e-5));
  });

  it('gives the same numbers for chips together as for each alone', async () => {
    const features = await recognizer.embed(Buffer.concat(names.map((name) => seededImage(name, 160, 160))));
    names.forEach((name, n) => golden(name).forEach((value, i) => expect(Math.abs(features[n * 512 + i]! - value)).toBeLessThan(1e-5)));
  });

  it("gives torch's numbers with other weights, for other chips", async () => {
    const other = await seededFacenet('other ');
    const flat = [0, 255].map((value) => new Uint8Array(160 * 160 * 3).fill(value));
    const chips = Buffer.concat([seededImage('other-a', 160, 160), ...flat, seededImage('other-b', 160, 160)]);
    const [ours, torchs] = await Promise.all(
      (['cpu', 'torch'] as const).map(async (device) => {
        const each = await FaceRecognizer.load({ model: 'facenet', weights: other.file, device: device as 'cpu' });
        const features = await each.embed(chips);
        await each.close();
        return features;
      }),
    );
    other.remove();
    ours!.forEach((value, i) => expect(Math.abs(value - torchs![i]!)).toBeLessThan(1e-5));
    expect(Math.abs(cosine(ours!.subarray(0, 512), (await recognizer.embed(chips)).subarray(0, 512)))).toBeLessThan(0.5);
  });

  it('keeps features within 1e-3 of a cosine in bf16', async (context) => {
    let coarse: FaceRecognizer;
    try {
      coarse = await FaceRecognizer.load({ model: 'facenet', weights: weights.file, precision: 'bf16' });
    } catch (error) {
      expect((error as { code: string }).code).toBe('ERR_UNSUPPORTED');
      return context.skip('this processor has no bf16 units');
    }
    for (const name of names) expect(cosine(await coarse.embed(seededImage(name, 160, 160)), golden(name))).toBeGreaterThan(1 - 1e-3);
    await coarse.close();
  });
});

describe('photos', () => {
  it('get features of length 1, the same for the same photo', async () => {
    const faces = await recognizer.faces(photo('obama.jpg'));
    expect(faces.length).toBeGreaterThan(0);
    for (const { features } of faces) expect(cosine(features, features)).toBeCloseTo(1, 5);
    expect(await recognizer.faces(photo('obama.jpg'))).toEqual(faces);
  });

  it('widen the chip by the margin', async () => {
    const wide = await FaceRecognizer.load({ model: 'facenet', weights: weights.file, margin: 40 });
    const [a] = await recognizer.faces(photo('obama2.jpg'));
    const [b] = await wide.faces(photo('obama2.jpg'));
    expect(b!.box).toEqual(a!.box);
    expect(score(a!.features, b!.features, 'l2')).toBeGreaterThan(0.01);
    await wide.close();
  });

  it('keep their own faces, however many go through the networks together', async () => {
    const paths = Array.from({ length: 20 }, (_, i) => photo(['obama.jpg', 'biden.jpg', 'obama2.jpg', 'obama3.jpg'][i % 4]!));
    const alone = new Map(await Promise.all([...new Set(paths)].map(async (path) => [path, await recognizer.faces(path)] as const)));
    const together = await Promise.all(paths.map((path) => recognizer.faces(path)));
    together.forEach((faces, i) => {
      const expected = alone.get(paths[i]!)!;
      expect(faces.map(({ box }) => box)).toEqual(expected.map(({ box }) => box));
      faces.forEach(({ features }, j) => expect(score(features, expected[j]!.features, 'l2')).toBeLessThan(1e-4));
    });
  });

  it('one bad picture among many spoils no other', async () => {
    const bad = { data: new Uint8Array(30), width: 1, height: 10, channels: 3 as const };
    const answers = await Promise.allSettled([
      recognizer.faces(photo('obama2.jpg')),
      recognizer.faces(bad, { region: { x: 0, y: 0, width: 2, height: 2 } }),
      recognizer.faces(photo('obama2.jpg')),
    ]);
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((answers[1] as PromiseRejectedResult).reason).toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining('region') });
  });
});

describe('what to look for', () => {
  it('only the largest faces', async () => {
    const all = await recognizer.faces(photo('obama.jpg'));
    expect(all.length).toBeGreaterThan(1);
    const [largest] = await recognizer.faces(photo('obama.jpg'), { maxFaces: 1 });
    expect(largest!.box).toEqual(all[0]!.box);
    const few = await FaceRecognizer.load({ model: 'facenet', weights: weights.file, maxFaces: 1 });
    expect(await few.faces(photo('obama.jpg'))).toHaveLength(1);
    expect(await few.faces(photo('obama.jpg'), { maxFaces: 2 })).toHaveLength(2);
    await few.close();
  });

  it('only a part of the picture', async () => {
    const [face] = await recognizer.faces(photo('obama2.jpg'));
    const { x, y, width, height } = face!.box;
    const region = { x: Math.floor(x - 60), y: Math.floor(y - 60), width: Math.ceil(width + 120), height: Math.ceil(height + 120) };
    const [again] = await recognizer.faces(photo('obama2.jpg'), { region });
    const part = { left: region.x, top: region.y, width: region.width, height: region.height };
    const [alone] = await recognizer.faces(await sharp(photo('obama2.jpg')).extract(part).png().toBuffer());
    expect(again!.box.x).toBeCloseTo(alone!.box.x + region.x, 3);
    expect(again!.box.y).toBeCloseTo(alone!.box.y + region.y, 3);
    again!.landmarks.forEach(([left, top], i) => {
      expect(left).toBeCloseTo(alone!.landmarks[i]![0] + region.x, 3);
      expect(top).toBeCloseTo(alone!.landmarks[i]![1] + region.y, 3);
    });
    expect(again!.score).toBe(alone!.score);
    expect(await recognizer.faces(photo('obama2.jpg'), { region: { x: 0, y: 0, width: 40, height: 40 } })).toEqual([]);
  });

  it('what the detector is sure of', async () => {
    const strict = await FaceRecognizer.load({ model: 'facenet', weights: weights.file, thresholds: [0.6, 0.7, 0.9999] });
    const all = await recognizer.faces(photo('obama.jpg'));
    const sure = await strict.faces(photo('obama.jpg'));
    expect(sure.map(({ score }) => score)).toEqual(all.map(({ score }) => score).filter((score) => score > 0.9999));
    await strict.close();
  });

  it.each([
    [{ maxFaces: 0 }, 'maxFaces'],
    [{ maxFaces: 1.5 }, 'maxFaces'],
    [{ region: { x: -1, y: 0, width: 5, height: 5 } }, 'region.x'],
    [{ region: { x: 0, y: 0, width: 0, height: 5 } }, 'region.width'],
    [{ region: { x: 600, y: 0, width: 100, height: 5 } }, 'region'],
    [{ region: 5 as never }, 'region'],
    [{ minFaceSize: 0 }, 'minFaceSize'],
    [{ minFaceSize: 5.9 }, 'minFaceSize'],
    [{ minFaceSize: '20' as never }, 'minFaceSize'],
    [5 as never, 'options'],
    [null as never, 'options'],
  ])('refuses %o', async (options, name) => {
    await expect(recognizer.faces(photo('obama2.jpg'), options)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining(name) });
  });
});

describe('weights', () => {
  const load = (file: string) => FaceRecognizer.load({ model: 'facenet', weights: file });

  it('that nobody fetched: the error says which, where from and where to', async () => {
    process.env.FAISS_VISION_MODELS = weights.folder;
    try {
      await expect(FaceRecognizer.load({ model: 'facenet', weights: 'casia-webface' })).rejects.toMatchObject({
        code: 'ERR_WEIGHTS_NOT_FOUND',
        message: expect.stringMatching(/20180408-102900-casia-webface\.pt.*facenet-casia-webface\.safetensors/s),
      });
    } finally {
      delete process.env.FAISS_VISION_MODELS;
    }
  });

  it('as PyTorch saved them, converted once', async () => {
    execFileSync('python3', [join(__dirname, 'fixtures/models/facenet_file.py'), join(__dirname, 'golden/facenet/facenet.json'), weights.folder]);
    process.env.FAISS_VISION_MODELS = weights.folder;
    try {
      const whole = join(weights.folder, 'whole.pt');
      const kept = join(weights.folder, 'converted');
      mkdirSync(kept);
      writeFileSync(join(kept, '.unfinished-by-one-that-was-killed'), 'half');
      const file = await weightsPath('facenet', whole);
      const { tensors, metadata } = decodeSafetensors(readFileSync(file));
      expect([tensors.size, metadata.model]).toEqual([602, 'facenet']);
      const made = statSync(file).mtimeMs;
      expect(await weightsPath('facenet', whole)).toBe(file);
      expect(statSync(file).mtimeMs).toBe(made);
      expect(readdirSync(kept)).toEqual([basename(file)]);
      await expect(load(join(weights.folder, 'missing.pt'))).rejects.toMatchObject({ code: 'ERR_WEIGHTS_MISMATCH' });
      await expect(load(join(weights.folder, 'nowhere.pt'))).rejects.toMatchObject({ code: 'ERR_WEIGHTS_NOT_FOUND' });
    } finally {
      delete process.env.FAISS_VISION_MODELS;
    }
  });

  it('of another network, cut, or without a layer', async () => {
    const tensors = facenetTensors();
    const write = async (name: string, model: string) => {
      const file = join(weights.folder, name);
      await writeSafetensors(file, { tensors, metadata: { model } });
      return file;
    };
    await expect(load(await write('other.safetensors', 'fcrn'))).rejects.toMatchObject({ code: 'ERR_WEIGHTS_MISMATCH', message: expect.stringContaining('"fcrn"') });
    const cut = await write('cut.safetensors', 'facenet');
    truncateSync(cut, 1_000_000);
    await expect(load(cut)).rejects.toMatchObject({ code: 'ERR_WEIGHTS_CORRUPT' });
    tensors.delete('repeat_2.7.branch1.1.conv.weight');
    await expect(load(await write('missing.safetensors', 'facenet'))).rejects.toMatchObject({
      code: 'ERR_WEIGHTS_MISMATCH',
      message: expect.stringContaining('repeat_2.7.branch1.1.conv.weight'),
    });
    const text = join(weights.folder, 'text.safetensors');
    writeFileSync(text, 'cos\nsystem\n(S"true"\ntR.');
    await expect(load(text)).rejects.toMatchObject({ code: 'ERR_WEIGHTS_CORRUPT' });
    await expect(load(join(weights.folder, 'nowhere.safetensors'))).rejects.toMatchObject({ code: 'ERR_WEIGHTS_NOT_FOUND' });
  });

  it('that are no file, or a PyTorch file for another network', async () => {
    const place = (name: string) => join(weights.folder, name);
    mkdirSync(place('folder.pt'));
    for (const pipe of ['pipe.pt', 'pipe.safetensors']) execFileSync('mkfifo', [place(pipe)]);
    for (const file of ['folder.pt', 'pipe.pt', 'pipe.safetensors'].map(place)) {
      await expect(load(file)).rejects.toMatchObject({ code: 'ERR_WEIGHTS_NOT_FOUND', message: `weights: "${file}" cannot be read: it is not a file` });
    }
    await expect(load('a\0b.pt')).rejects.toMatchObject({ code: 'ERR_WEIGHTS_NOT_FOUND' });
    await expect(FaceRecognizer.load({ model: 'resnet128', weights: place('some.pt') })).rejects.toMatchObject({
      code: 'ERR_WEIGHTS_MISMATCH',
      message: expect.stringContaining('some.pt'),
    });
  });

  it("of one's own under a name of one's own", async () => {
    FaceRecognizer.register('staff', { architecture: 'facenet', weights: weights.file, threshold: 0.9 });
    const own = await FaceRecognizer.load({ model: 'staff' });
    expect([own.dimension, own.threshold]).toEqual([512, 0.9]);
    expect(await own.embed(seededImage('face-a', 160, 160))).toEqual(await recognizer.embed(seededImage('face-a', 160, 160)));
    await own.close();
    const model = { architecture: 'facenet' as const, weights: weights.file };
    for (const name of ['staff', 'facenet', '']) expect(() => FaceRecognizer.register(name, model)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
    expect(() => FaceRecognizer.register('x', { ...model, architecture: 'vgg' as never })).toThrow(expect.objectContaining({ code: 'ERR_UNKNOWN_MODEL' }));
    for (const nobody of ['nobody', 'constructor', '__proto__']) {
      await expect(FaceRecognizer.load({ model: nobody })).rejects.toMatchObject({ code: 'ERR_UNKNOWN_MODEL', message: expect.stringContaining(nobody) });
    }
    expect(() => FaceRecognizer.register('x', { ...model, architecture: 'toString' as never })).toThrow(expect.objectContaining({ code: 'ERR_UNKNOWN_MODEL' }));
    FaceRecognizer.register('constructor', model);
    const odd = await FaceRecognizer.load({ model: 'constructor' });
    expect(odd.dimension).toBe(512);
    await odd.close();
  });

  it('for bf16 of a network that has none', async () => {
    await expect(FaceRecognizer.load({ model: 'resnet128', precision: 'bf16' })).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
    await expect(FaceRecognizer.load({ model: 'facenet', weights: weights.file, precision: 'fp16' })).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
  });
});
