import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { FaceQualityError, FaceRecognizer, Gallery, type GalleryRecognizer } from '../dist';
import { photosFolder } from '../dist/models/cache';
import { codeOf, withFolder } from './support/gallery';
import { until } from './support/wait';

const photo = (name: string) => join(photosFolder(), 'face_recognition', name);

let recognizer: FaceRecognizer;
beforeAll(async () => {
  recognizer = await FaceRecognizer.load({ model: 'resnet128' });
});

async function withPhotos<T>(work: (gallery: Gallery, file: string) => Promise<T>, options = {}): Promise<T> {
  return withFolder(async (folder) => {
    const file = join(folder, 'people.db');
    const gallery = await Gallery.open(file, { recognizer, ...options });
    try {
      return await work(gallery, file);
    } finally {
      await gallery.close().catch(() => {});
    }
  });
}

describe("the article's checks, with a restart between them", () => {
  it('enrols from a photo and remembers', () =>
    withFolder(async (folder) => {
      const file = join(folder, 'people.db');
      let gallery = await Gallery.open(file, { recognizer });
      expect(gallery.mark).toMatchObject({ model: 'resnet128', dimension: 128, metric: 'l2', version: expect.stringMatching(/^[0-9a-f]{16}$/) });
      expect((await gallery.identify(photo('obama.jpg')))[0]!.found).toBe(false);
      const { person, added } = await gallery.enroll('Barack Obama', photo('obama.jpg'), { faces: 'largest', metadata: { office: 44 } });
      expect([person.name, added]).toEqual(['Barack Obama', 1]);
      await gallery.close();

      gallery = await Gallery.open(file, { recognizer });
      const [same] = await gallery.identify(photo('obama.jpg'), { maxFaces: 1 });
      expect(same!.person?.name).toBe('Barack Obama');
      expect(same!.matches[0]!.score).toBeLessThan(1e-3);
      const [again] = await gallery.identify(readFileSync(photo('obama2.jpg')));
      expect(again).toMatchObject({ found: true, person: { name: 'Barack Obama', metadata: { office: 44 } } });
      const [other] = await gallery.identify(photo('biden.jpg'));
      expect(other!.found).toBe(false);
      expect(other!.matches[0]!.score).toBeGreaterThan(recognizer.threshold);
      expect((await gallery.verify('Barack Obama', photo('obama2.jpg'))).same).toBe(true);
      expect((await gallery.verify('Barack Obama', photo('biden.jpg'))).same).toBe(false);
      const [face] = await gallery.faces('Barack Obama');
      expect(face!.box!.width).toBeGreaterThan(100);
      expect(face!.thumbnail).toBeUndefined();
      await gallery.close();
    }));
});

describe('a photo that is not good enough', () => {
  it('is refused with the reason and what was measured, and nobody is half enrolled', () =>
    withPhotos(async (gallery) => {
      expect(await gallery.enroll('Obama', [photo('obama2.jpg'), photo('obama.jpg')]).catch((error: Error) => error)).toMatchObject({
        code: 'ERR_MANY_FACES',
        message: expect.stringContaining('photos[1]'),
      });
      const grey = await sharp({ create: { width: 300, height: 300, channels: 3, background: '#808080' } })
        .png()
        .toBuffer();
      expect(await codeOf(gallery.enroll('Obama', grey))).toBe('ERR_NO_FACE');
      const refusal = async (image: Buffer | string, quality = {}) => {
        const error = await gallery.enroll('Obama', image, { faces: 'largest', quality }).catch((error: Error) => error);
        expect(error).toBeInstanceOf(FaceQualityError);
        return error as FaceQualityError;
      };
      const small = await sharp(photo('obama2.jpg')).resize(80).png().toBuffer();
      expect(await refusal(small)).toMatchObject({ code: 'ERR_FACE_QUALITY', reason: 'size', message: expect.stringMatching(/pixels.*at least 40/) });
      const blurred = await sharp(photo('obama2.jpg')).blur(12).png().toBuffer();
      const unsharp = await refusal(blurred, { minScore: 0 });
      expect(unsharp.reason).toBe('sharpness');
      expect(unsharp.measured.sharpness).toBeLessThan(0.5);
      const tilted = await sharp(photo('obama2.jpg')).rotate(42, { background: '#808080' }).png().toBuffer();
      const roll = await refusal(tilted, { minScore: 0 });
      expect(roll.reason).toBe('roll');
      expect(roll.measured.roll).toBeGreaterThan(35);
      expect(roll.measured.roll).toBeLessThan(70);
      expect((await refusal(photo('obama2.jpg'), { maxYaw: 0 })).reason).toBe('yaw');
      expect((await gallery.describe()).people).toBe(0);
      expect((await gallery.enroll('Obama', blurred, { quality: false })).added).toBe(1);
      expect(await codeOf(gallery.enroll('Obama', photo('obama2.jpg'), { quality: { minSise: 3 } as object }))).toBe('ERR_INVALID_ARGUMENT');
    }));

  it('is left out where that is asked for', () =>
    withPhotos(async (gallery) => {
      const { faces, refused } = await gallery.enroll('Obama', [photo('obama2.jpg'), photo('obama.jpg'), photo('biden.jpg')], { skipRefused: true });
      expect(faces).toHaveLength(2);
      expect(refused).toMatchObject([{ photo: 1, code: 'ERR_MANY_FACES' }]);
      expect(await codeOf(gallery.enroll('Nobody', [photo('obama.jpg')], { skipRefused: true }))).toBe('ERR_NO_FACE');
      expect(await gallery.person('Nobody')).toBeUndefined();
    }));

  it('lets through the photos of people who look at the camera', () =>
    withPhotos(async (gallery) => {
      for (const name of ['obama.jpg', 'obama2.jpg', 'biden.jpg'])
        expect((await gallery.enroll(name, photo(name), { faces: 'largest' })).added, name).toBe(1);
    }));
});

describe('a change of model', () => {
  /** Another model: the same faces, their features turned around and shortened. */
  const other = (): GalleryRecognizer & { asked: number } => {
    const made = {
      ...{ dimension: 64, metric: 'cosine' as const, threshold: 0.95, model: 'other', version: '1', asked: 0 },
      async faces(...args: Parameters<FaceRecognizer['faces']>) {
        made.asked++;
        return (await recognizer.faces(...args)).map((face) => ({ ...face, features: face.features.slice(0, 64).map((number) => -number) }));
      },
    };
    return made;
  };

  it('embeds everybody anew from thumbnails, goes on after an interruption, and mixes nothing', () =>
    withFolder(async (folder) => {
      const file = join(folder, 'people.db');
      const gallery = await Gallery.open(file, { recognizer, thumbnails: true });
      for (let i = 0; i < 4; i++) await gallery.enroll('Obama', [photo('obama.jpg'), photo('obama2.jpg')], { faces: 'largest' });
      await gallery.enroll('Biden', photo('biden.jpg'));
      const [face] = await gallery.faces('Biden');
      expect((await sharp(face!.thumbnail).metadata()).format).toBe('jpeg');
      await gallery.close();

      const next = other();
      expect(await codeOf(Gallery.open(file, { recognizer: next }))).toBe('ERR_MODEL_MISMATCH');
      const stop = new AbortController();
      const reason = new Error('enough');
      let seen = 0;
      const stopping = {
        ...next,
        faces: async (...args: Parameters<FaceRecognizer['faces']>) => (++seen === 2 && stop.abort(reason), next.faces(...args)),
      };
      await expect(Gallery.reembed(file, { recognizer: stopping, signal: stop.signal })).rejects.toBe(reason);
      // Until all are done, everything is as it was.
      const before = await Gallery.open(file, { recognizer });
      expect((await before.identify(photo('obama2.jpg')))[0]!.person?.name).toBe('Obama');
      const progress: number[] = [];
      // The first eight were done.
      expect(await Gallery.reembed(file, { recognizer: next, onProgress: (done) => progress.push(done) })).toEqual({ faces: 9, embedded: 1 });
      expect(progress.length).toBeGreaterThan(0);
      // A gallery that was open meanwhile does not compare the old with the new.
      await until('it notices', async () => (await codeOf(before.identify(photo('obama2.jpg')))) === 'ERR_MODEL_MISMATCH');
      expect(await codeOf(before.enroll('New', photo('biden.jpg')))).toBe('ERR_MODEL_MISMATCH');
      await before.close();

      expect(await codeOf(Gallery.open(file, { recognizer }))).toBe('ERR_MODEL_MISMATCH');
      const after = await Gallery.open(file, { recognizer: next });
      expect(after.mark).toEqual({ model: 'other', version: '1', dimension: 64, metric: 'cosine' });
      expect((await after.identify(photo('obama2.jpg')))[0]!.person?.name).toBe('Obama');
      expect((await after.identify(photo('biden.jpg')))[0]!.person?.name).toBe('Biden');
      await after.close();
    }));

  it('takes photos from the caller, and names the faces that have none', () =>
    withFolder(async (folder) => {
      const file = join(folder, 'people.db');
      const gallery = await Gallery.open(file, { recognizer });
      await gallery.enroll('Obama', photo('obama2.jpg'), { faceIds: ['obama2'] });
      await gallery.enroll('Biden', photo('biden.jpg'), { faceIds: ['biden'] });
      await gallery.close();
      const next = other();
      const error = await Gallery.reembed(file, { recognizer: next, photo: ({ id }) => (id === 'biden' ? undefined : photo(`${id}.jpg`)) }).catch(
        (error: Error) => error,
      );
      expect(error).toMatchObject({ code: 'ERR_REEMBED_INCOMPLETE', message: expect.stringContaining('biden (no thumbnail and no photo)') });
      expect(next.asked).toBe(1);
      expect(await Gallery.reembed(file, { recognizer: next, photo: async ({ id }) => photo(`${id}.jpg`) })).toEqual({ faces: 2, embedded: 1 });
      expect(next.asked).toBe(2); // the other one was done
      const after = await Gallery.open(file, { recognizer: next });
      expect((await after.identify(photo('biden.jpg')))[0]!.person?.name).toBe('Biden');
      await after.close();
    }));
});
