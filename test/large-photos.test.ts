import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DepthEstimator } from 'faiss-vision/depth';
import { FaceRecognizer, type Face } from 'faiss-vision/face';
import { Gallery } from 'faiss-vision/gallery';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { decode } from '../dist/image';
import { photosFolder } from '../dist/models/cache';
import { score } from './support/vectors';
import { until } from './support/wait';

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

describe('many photos at once wait as files, not as pixels', () => {
  const mebibytes = (what: string) => Number(new RegExp(`${what}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024;
  const grey = (side: number) => ({ data: new Uint8Array(side * side * 3).fill(128), width: side, height: side, channels: 3 as const });
  let bytes: Buffer;
  let before: number;
  beforeAll(async () => {
    before = mebibytes('VmRSS');
    bytes = await (await enlarged('face_recognition/obama.jpg', 4)).jpeg().toBuffer();
  });

  /** Mebibytes that the process took at its most, above what it had before all of these: what one has freed the next one takes. */
  async function peakOf(begin: () => Promise<unknown>[]): Promise<number> {
    writeFileSync('/proc/self/clear_refs', '5'); // the peak begins anew
    await Promise.all(begin());
    return mebibytes('VmHWM') - before;
  }

  it('to the depth estimator', async () => {
    const depth = await DepthEstimator.load({ weights: 'seeded' });
    // Those that come first keep the network busy while the others could all be decoded.
    const peak = await peakOf(() => [...Array(10).fill(grey(300)), ...Array(30).fill(bytes)].map((image) => depth.estimate(image)));
    // Four have 190 MiB of pixels, thirty 1.4 GiB.
    expect(peak).toBeLessThan(900);
    await depth.close();
  });

  it('to the recogniser', async () => {
    const { width, height } = await sharp(bytes).metadata();
    const options = { minFaceSize: 2900, region: { x: 0, y: 0, width, height } };
    const peak = await peakOf(() => [recognizer.faces(grey(4000), { minFaceSize: 6 }), ...Array.from({ length: 50 }, () => recognizer.faces(bytes, options))]);
    // Twelve have 570 MiB of pixels, fifty 2.3 GiB; some are garbage that nobody has collected yet.
    expect(peak).toBeLessThan(1500);
  });

  it.each([['the processor', 'cpu', 12], ['a GPU', 'cuda:0', 32]] as const)('to the gallery of a recogniser on %s', async (_, device, places) => {
    let most = 0;
    const waiting: (() => void)[] = [];
    const eye = {
      ...{ model: recognizer.model, weights: recognizer.weights, dimension: recognizer.dimension, metric: recognizer.metric, threshold: recognizer.threshold },
      device,
      async faces() {
        most = Math.max(most, waiting.push(() => {}));
        await new Promise<void>((go) => (waiting[waiting.length - 1] = go));
        return [];
      },
    };
    const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-large-'));
    const gallery = await Gallery.open(join(folder, 'people.db'), { recognizer: eye as never });
    const small = await sharp(photo('face_recognition/obama2.jpg')).resize(64).jpeg().toBuffer();
    const all = Promise.allSettled(Array.from({ length: 40 }, (_, i) => gallery.enroll(`P${i}`, small)));
    await until('as many are looked at as may be', () => waiting.length >= places);
    await new Promise((resolve) => setTimeout(resolve, 300)); // in which all 40 could have been decoded
    for (let seen = 0; seen < 40; seen++) {
      await until('another one is looked at', () => waiting.length > 0);
      waiting.shift()!();
    }
    expect((await all).map((one) => one.status === 'rejected' && one.reason.code)).toEqual(Array(40).fill('ERR_NO_FACE'));
    expect(most).toBe(places);
    await gallery.close();
    rmSync(folder, { recursive: true });
  });
});
