import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FaceRecognizer } from 'faiss-vision/face';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { photosFolder } from '../dist/models/cache';
import { expectGolden, photos } from './support/mtcnn-golden';
import { seededImage } from './support/seeded';
import { score } from './support/vectors';

const photo = (name: string) => join(photosFolder(), name);
const golden = (name: string) => join(__dirname, 'golden', name);
const json = (name: string) => JSON.parse(readFileSync(golden(name), 'utf8'));

let recognizer: FaceRecognizer;
beforeAll(async () => {
  recognizer = await FaceRecognizer.load({ model: 'resnet128' });
});

describe('MTCNN against facenet-pytorch 2.6.0', () => {
  it('has twelve photos to compare', () => expect(photos).toHaveLength(12));

  it.each(photos)('%s', async (name, { width, height, faces: expected }) => {
    const { info } = await sharp(photo(name)).raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([width, height]);
    const faces = await recognizer.faces(photo(name));
    expectGolden(faces, expected);
    const areas = faces.map(({ box }) => box.width * box.height);
    expect(areas).toEqual([...areas].sort((a, b) => b - a));
  });
});

describe('resnet128 against face-api 1.7.15', () => {
  const chips: [string, { descriptor: number[]; pixels: string }][] = Object.entries(json('resnet128/resnet128.json').chips);

  const pixels = (name: string, file: string) =>
    file.startsWith('seeded') ? seededImage(name, 150, 150) : new Uint8Array(readFileSync(golden(`resnet128/${file}`)));

  it.each(chips)('%s', async (name, chip) => {
    const features = await recognizer.embed(pixels(name, chip.pixels));
    expect(features).toHaveLength(128);
    features.forEach((value, i) => expect(Math.abs(value - chip.descriptor[i]!)).toBeLessThan(1e-3));
  });

  it('gives the same numbers for chips together as for each alone', async () => {
    const all = chips.map(([name, chip]) => pixels(name, chip.pixels));
    const together = await recognizer.embed(Buffer.concat(all));
    for (const [i, chip] of all.entries()) {
      const alone = await recognizer.embed(chip);
      alone.forEach((value, j) => expect(Math.abs(value - together[i * 128 + j]!)).toBeLessThan(1e-5));
    }
  });
});

describe('from photo to person', () => {
  it('keeps one person nearer than two, by at least 0.1', async () => {
    const names = ['obama', 'obama2', 'obama3', 'obama_partial_face', 'obama_partial_face2', 'biden'];
    const features: Float32Array[] = [];
    for (const name of names) {
      const [largest] = await recognizer.faces(photo(`face_recognition/${name}.jpg`));
      expect(largest!.features).toHaveLength(recognizer.dimension);
      features.push(largest!.features);
    }
    const same: number[] = [];
    const different: number[] = [];
    names.forEach((a, i) =>
      names.slice(0, i).forEach((b, j) => {
        (a.startsWith('obama') === b.startsWith('obama') ? same : different).push(score(features[i]!, features[j]!, 'l2'));
      }),
    );
    expect(same).toHaveLength(10);
    expect(different).toHaveLength(5);
    expect(Math.min(...different) - Math.max(...same)).toBeGreaterThanOrEqual(0.1);
    expect(Math.max(...same)).toBeLessThan(recognizer.threshold);
    expect(Math.min(...different)).toBeGreaterThan(recognizer.threshold);
  });

  it('gives one answer for one picture, however it comes', async () => {
    const path = photo('face_recognition/obama2.jpg');
    const [expected] = await recognizer.faces(path);
    const { data, info } = await sharp(path).raw().toBuffer({ resolveWithObject: true });
    const { width, height } = info;
    const bgr = Buffer.from(data);
    for (let i = 0; i < bgr.length; i += 3) [bgr[i], bgr[i + 2]] = [bgr[i + 2]!, bgr[i]!];
    const stride = width * 3 + 10;
    const padded = new Uint8Array(stride * height);
    for (let y = 0; y < height; y++) padded.set(data.subarray(y * width * 3, (y + 1) * width * 3), y * stride);
    const rgba = await sharp(path).ensureAlpha().raw().toBuffer();
    for (const image of [
      readFileSync(path),
      await sharp(path).png({ compressionLevel: 1 }).toBuffer(),
      { data, width, height, channels: 3 as const },
      { data: bgr, width, height, channels: 3 as const, order: 'bgr' as const },
      { data: padded, width, height, channels: 3 as const, stride },
      { data: rgba, width, height, channels: 4 as const },
    ]) {
      expect(await recognizer.faces(image)).toEqual([expected]);
    }
  });

  it('turns a picture upright by its EXIF orientation', async () => {
    const path = photo('face_recognition/obama2.jpg');
    const [upright] = await recognizer.faces(path);
    // Stored lying on its side, with the note to turn it: orientation 6.
    const lying = await sharp(await sharp(path).rotate(-90).png({ compressionLevel: 1 }).toBuffer())
      .withMetadata({ orientation: 6 })
      .jpeg({ quality: 95 })
      .toBuffer();
    const [turned] = await recognizer.faces(lying);
    expect(Math.abs(turned!.box.x - upright!.box.x)).toBeLessThan(5);
    expect(score(turned!.features, upright!.features, 'l2')).toBeLessThan(0.2);
  });

  it('finds a face in grey and behind transparency', async () => {
    const path = photo('face_recognition/obama2.jpg');
    const [colour] = await recognizer.faces(path);
    const grey = await sharp(path).greyscale().raw().toBuffer({ resolveWithObject: true });
    expect(grey.info.channels).toBe(1);
    for (const image of [
      await sharp(path).greyscale().jpeg().toBuffer(),
      { data: grey.data, width: grey.info.width, height: grey.info.height, channels: 1 as const },
      await sharp(path).ensureAlpha(0.8).png({ compressionLevel: 1 }).toBuffer(),
    ]) {
      const [face] = await recognizer.faces(image);
      expect(score(face!.features, colour!.features, 'l2')).toBeLessThan(recognizer.threshold);
    }
  });

  it('keeps its head with several photos at once', async () => {
    const paths = ['obama', 'biden', 'obama2', 'biden', 'obama'].map((name) => photo(`face_recognition/${name}.jpg`));
    const alone: Face[][] = [];
    for (const path of paths) alone.push(await recognizer.faces(path));
    expect(await Promise.all(paths.map((path) => recognizer.faces(path)))).toEqual(alone);
  });
});
