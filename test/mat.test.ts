import { join } from 'node:path';
import { FaceRecognizer } from 'faiss-vision/face';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { photosFolder } from '../dist/models/cache';
import { loadOpenCv, type OpenCv } from './support/opencv';

const { cv, missing } = loadOpenCv();
const photo = join(photosFolder(), 'face_recognition/obama2.jpg');

/** The photo's pixels, and the same with blue first. */
async function raw(channels: 1 | 3 | 4) {
  const picture = channels === 1 ? sharp(photo).greyscale() : channels === 4 ? sharp(photo).ensureAlpha() : sharp(photo);
  const { data, info } = await picture.raw().toBuffer({ resolveWithObject: true });
  const bgr = Buffer.from(data);
  if (channels > 1) for (let i = 0; i < bgr.length; i += channels) [bgr[i], bgr[i + 2]] = [bgr[i + 2]!, bgr[i]!];
  return { data, bgr, width: info.width, height: info.height, channels };
}

describe.skipIf(missing)('a Mat of @u4/opencv4nodejs', () => {
  const { Mat, Rect, CV_8UC1, CV_8UC3, CV_8UC4, CV_32FC1 } = cv ?? ({} as OpenCv);
  let recognizer: FaceRecognizer;
  beforeAll(async () => {
    recognizer = await FaceRecognizer.load({ model: 'resnet128' });
  });
  afterAll(() => recognizer.close());

  it.each([
    [1, () => CV_8UC1],
    [3, () => CV_8UC3],
    [4, () => CV_8UC4],
  ] as const)('of %i channels gives the faces of the same pixels', async (channels, type) => {
    const { data, bgr, width, height } = await raw(channels);
    const expected = await recognizer.faces({ data, width, height, channels });
    expect(expected).toHaveLength(1);
    expect(await recognizer.faces(new Mat(bgr, height, width, type()))).toEqual(expected);
  });

  it.each([
    ['with a step longer than its rows', 50, 20, 500, 700],
    ['of whole rows', 0, 20, undefined, 700],
    ['that is its end', 50, 20, undefined, undefined],
  ])('a part of another %s', async (_, x, y, columns, rows) => {
    const { bgr, width, height } = await raw(3);
    const part = { width: columns ?? width - x, height: rows ?? height - y };
    const mat = new Mat(bgr, height, width, CV_8UC3).getRegion(new Rect(x, y, part.width, part.height));
    expect(mat.step).toBe(3 * width);
    const data = bgr.subarray(3 * (y * width + x), 3 * ((y + part.height - 1) * width + x + part.width));
    const expected = await recognizer.faces({ data, ...part, channels: 3, order: 'bgr', stride: 3 * width });
    expect(expected).toHaveLength(1);
    expect(await recognizer.faces(mat)).toEqual(expected);
  });

  it('over a Buffer whose rows do not touch', async () => {
    const { bgr, width, height } = await raw(3);
    const stride = 3 * width + 52;
    const spaced = Buffer.alloc(stride * height, 99);
    for (let y = 0; y < height; y++) bgr.copy(spaced, y * stride, 3 * y * width, 3 * (y + 1) * width);
    const expected = await recognizer.faces({ data: bgr, width, height, channels: 3, order: 'bgr' });
    expect(await recognizer.faces(new Mat(height, width, CV_8UC3, spaced, stride))).toEqual(expected);
  });

  it('is copied at the call: it may be released at once', async () => {
    const { data, bgr, width, height } = await raw(3);
    const mat = new Mat(bgr, height, width, CV_8UC3);
    const faces = recognizer.faces(mat);
    mat.release();
    expect(await faces).toEqual(await recognizer.faces({ data, width, height, channels: 3 }));
  });

  it('that OpenCV read from the photo has the same face', async () => {
    const [[face], [expected]] = [await recognizer.faces(cv!.imread(photo)), await recognizer.faces(photo)];
    // Two JPEG decoders may differ by a bit.
    for (const side of ['x', 'y', 'width', 'height'] as const) expect(face!.box[side]).toBeCloseTo(expected!.box[side], -0.5);
    expect(Math.hypot(...face!.features.map((value, i) => value - expected!.features[i]!))).toBeLessThan(0.05);
  });

  it.each([
    ['of floats', () => new Mat(10, 10, CV_32FC1), 'CV_32FC1'],
    ['without rows', () => new Mat(0, 0, CV_8UC3), '0 x 0'],
  ])('%s is refused', async (_, mat, text) => {
    await expect(recognizer.faces(mat())).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining(text) });
  });
});

it.skipIf(!missing)("@u4/opencv4nodejs' Mat", (context) => context.skip(missing));
