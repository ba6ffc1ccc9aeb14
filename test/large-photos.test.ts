import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FaceRecognizer, type Face } from 'faiss-vision/face';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { decode } from '../dist/image';
import { photosFolder } from '../dist/models/cache';
import { score } from './support/vectors';

const photo = (name: string) => join(photosFolder(), name);
const enlarged = (name: string, times: number) =>
  sharp(photo(name)).metadata().then(({ width, height }) => sharp(photo(name)).resize(width * times, height * times, { kernel: 'cubic' }));

let recognizer: FaceRecognizer;
beforeAll(async () => {
  recognizer = await FaceRecognizer.load({ model: 'resnet128' });
});

/** The same pixels, decoded whole: raw pixels are never shrunk. */
async function whole(bytes: Buffer) {
  const { data, info } = await sharp(bytes, { autoOrient: true }).raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: 3 as const };
}

/** docs/faces.md has these bounds. */
function expectSame(faces: Face[], expected: Face[]) {
  expect(faces).toHaveLength(expected.length);
  for (const face of expected) {
    const { x, y, width } = face.box;
    const near = faces.reduce((a, b) => (Math.hypot(a.box.x - x, a.box.y - y) < Math.hypot(b.box.x - x, b.box.y - y) ? a : b));
    for (const side of ['x', 'y', 'width', 'height'] as const) expect(Math.abs(near.box[side] - face.box[side]) / width).toBeLessThan(0.1);
    near.landmarks.forEach(([left, top], i) => {
      expect(Math.hypot(left - face.landmarks[i]![0], top - face.landmarks[i]![1]) / width).toBeLessThan(0.05);
    });
    expect(score(near.features, face.features, 'l2')).toBeLessThan(0.15);
  }
}

describe('a large photo of which only large faces are wanted', () => {
  it.each([
    ['face_recognition/obama.jpg', 4, 500, 5],
    ['face_recognition/biden.jpg', 3, 300, 3],
    ['face-api/sample3.jpg', 2, 300, 3],
    ['face-api/sample3.jpg', 2, 370, 3],
    ['face_recognition/obama3.jpg', 4, 900, 9],
  ])('%s, %i times as large', async (name, times, minFaceSize, shrink) => {
    const bytes = await (await enlarged(name, times)).jpeg({ quality: 92 }).toBuffer();
    const pixels = await whole(bytes);
    const { shrunk, width, height } = await decode(bytes, 'image', { shrink });
    expect([shrunk!.x * width, shrunk!.y * height]).toEqual([expect.closeTo(pixels.width, 6), expect.closeTo(pixels.height, 6)]);
    expect(Math.abs(width * shrink - pixels.width)).toBeLessThanOrEqual(shrink);
    const expected = await recognizer.faces(pixels, { minFaceSize });
    expect(expected.length).toBeGreaterThan(0);
    const faces = await recognizer.faces(bytes, { minFaceSize });
    expect(faces).not.toEqual(expected); // else nothing was shrunk
    expectSame(faces, expected);
  });

  it('lying on its side, or as WebP', async () => {
    const large = await enlarged('face_recognition/obama2.jpg', 4);
    const upright = await large.clone().png({ compressionLevel: 1 }).toBuffer();
    const lying = await sharp(upright).rotate(-90).withMetadata({ orientation: 6 }).jpeg({ quality: 92 }).toBuffer();
    const webp = await large.webp({ quality: 92, effort: 0 }).toBuffer();
    for (const bytes of [lying, webp]) {
      const { shrunk, width, height } = await decode(bytes, 'image', { shrink: 5 });
      expect([shrunk!.x * width, shrunk!.y * height]).toEqual([expect.closeTo(4 * 626, 6), expect.closeTo(4 * 1200, 6)]);
      expectSame(await recognizer.faces(bytes, { minFaceSize: 500 }), await recognizer.faces(await whole(bytes), { minFaceSize: 500 }));
    }
  });

  it('is decoded whole for smaller faces, for a part of it, in other formats, and where it is small', async () => {
    const bytes = await (await enlarged('face_recognition/obama2.jpg', 3)).jpeg().toBuffer();
    const pixels = await whole(bytes);
    for (const options of [{ minFaceSize: 299 }, { minFaceSize: 300, region: { x: 0, y: 0, width: pixels.width, height: pixels.height } }]) {
      expect(await recognizer.faces(bytes, options)).toEqual(await recognizer.faces(pixels, options));
    }
    expect((await decode(await sharp(bytes).png({ compressionLevel: 1 }).toBuffer(), 'image', { shrink: 5 })).shrunk).toBeUndefined();
    expect((await decode(photo('face_recognition/obama2.jpg'), 'image', { shrink: 5 })).shrunk).toBeUndefined();
  });

  it('is shrunk by the recogniser\'s own minFaceSize too, which a call may change', async () => {
    const bytes = await (await enlarged('face_recognition/obama2.jpg', 3)).jpeg().toBuffer();
    const large = await FaceRecognizer.load({ model: 'resnet128', minFaceSize: 300 });
    expect(await large.faces(bytes)).toEqual(await recognizer.faces(bytes, { minFaceSize: 300 }));
    expect(await large.faces(bytes, { minFaceSize: 200 })).toEqual(await recognizer.faces(bytes, { minFaceSize: 200 }));
    await large.close();
  });
});

it('many photos at once wait as files, not as pixels', async () => {
  const bytes = await (await enlarged('face_recognition/obama.jpg', 4)).jpeg().toBuffer();
  const { width, height } = await sharp(bytes).metadata();
  const mebibytes = (what: string) => Number(new RegExp(`${what}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024;
  writeFileSync('/proc/self/clear_refs', '5'); // the peak begins anew
  const before = mebibytes('VmRSS');
  // Keeps the networks busy while the others could all be decoded.
  const slow = recognizer.faces({ data: new Uint8Array(4000 * 4000 * 3).fill(128), width: 4000, height: 4000, channels: 3 }, { minFaceSize: 6 });
  const options = { minFaceSize: 2900, region: { x: 0, y: 0, width, height } };
  await Promise.all([slow, ...Array.from({ length: 50 }, () => recognizer.faces(bytes, options))]);
  // Sixteen have 760 MiB of pixels, fifty 2.3 GiB; some are garbage that nobody has collected yet.
  expect(mebibytes('VmHWM') - before).toBeLessThan(1500);
}, 60_000);
