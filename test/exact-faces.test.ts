import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Index } from 'faiss-vision/ann';
import { FaceRecognizer } from 'faiss-vision/face';
import { expect, it } from 'vitest';
import { photosFolder } from '../dist/models/cache';
import { seeded } from './support/seeded';

/** The features of every face in the photos, and many more people like them: mixtures of two faces with a little noise. */
async function people(count: number): Promise<{ d: number; known: Float32Array; asked: Float32Array }> {
  const recognizer = await FaceRecognizer.load({ model: 'resnet128' });
  const photos = ['face_recognition', 'face-api'].flatMap((folder) => readdirSync(join(photosFolder(), folder)).map((name) => join(photosFolder(), folder, name)));
  const real = (await Promise.all(photos.map((photo) => recognizer.faces(photo)))).flat().map(({ features }) => features);
  await recognizer.close();
  expect(real.length).toBeGreaterThan(15);
  const d = recognizer.dimension;
  const random = seeded('people', count * (d + 3));
  const known = new Float32Array(count * d);
  for (let i = 0; i < count; i++) {
    const own = random.subarray(i * (d + 3), (i + 1) * (d + 3));
    const [a, b] = [real[Math.floor(own[d]! * real.length)]!, real[Math.floor(own[d + 1]! * real.length)]!];
    const share = i < real.length ? 0 : own[d + 2]!;
    for (let j = 0; j < d; j++) known[i * d + j] = i < real.length ? real[i]![j]! : a[j]! * (1 - share) + b[j]! * share + (own[j]! - 0.5) * 0.02;
  }
  return { d, known, asked: Float32Array.from(real.flatMap((features) => [...features])) };
}

it.each(['l2', 'ip'] as const)('among real faces the search by bounds finds what reading all of them finds: %s', async (metric) => {
  const { d, known, asked } = await people(20_000);
  const [bounded, plain] = (['bounded', 'plain'] as const).map((exact) => Index.factory(d, 'Flat', { metric, exact }));
  await Promise.all([bounded!.add(known), plain!.add(known)]);
  const single = (n: number) => asked.slice(n * d, (n + 1) * d);
  for (const k of [1, 10, 100]) {
    for (let n = 0; n < asked.length / d; n++) {
      const [one, other] = [await bounded!.search(single(n), k), await plain!.search(single(n), k)];
      expect(one.distances).toEqual(other.distances);
      // Ids may differ between vectors that are equally far.
      one.labels.forEach((label, i) => {
        if (other.distances.filter((distance) => distance === other.distances[i]).length === 1 && i + 1 < k) expect(label).toBe(other.labels[i]);
      });
    }
  }
  await Promise.all([bounded!.close(), plain!.close()]);
});
