import { createRequire } from 'node:module';
import { join } from 'node:path';
import { FaceRecognizer, type MatLike } from 'faiss-vision/face';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { photosFolder } from '../dist/models/cache';

interface OpenCv {
  Mat: new (data: Buffer, rows: number, cols: number, type: number) => MatLike & { getRegion(rectangle: unknown): MatLike; step: number };
  Rect: new (x: number, y: number, width: number, height: number) => unknown;
  imread(path: string, flags?: number): MatLike;
  CV_8UC1: number;
  CV_8UC3: number;
  CV_8UC4: number;
  CV_32FC1: number;
  IMREAD_UNCHANGED: number;
}

/** The real package, where the machine has it: it is an optional peer, and compiled against OpenCV. */
function opencv(): OpenCv | undefined {
  try {
    process.env.OPENCV4NODEJS_DISABLE_AUTOBUILD = '1';
    const { cv } = createRequire(process.env.FAISS_VISION_OPENCV ?? __filename)('@u4/opencv4nodejs') as { cv: OpenCv };
    return cv;
  } catch {
    return undefined;
  }
}

const cv = opencv();
const photo = join(photosFolder(), 'face_recognition/obama2.jpg');
let recognizer: FaceRecognizer;
beforeAll(async () => {
  recognizer = await FaceRecognizer.load({ model: 'resnet128' });
});
afterAll(() => recognizer.close());

describe.skipIf(cv === undefined)('a Mat of @u4/opencv4nodejs', () => {
  const { Mat, Rect, CV_8UC1, CV_8UC3, CV_8UC4, CV_32FC1 } = cv ?? ({} as OpenCv);
  const raw = async (channels: 1 | 3 | 4) => {
    const picture = channels === 1 ? sharp(photo).greyscale() : channels === 4 ? sharp(photo).ensureAlpha() : sharp(photo);
    const { data, info } = await picture.raw().toBuffer({ resolveWithObject: true });
    const bgr = Buffer.from(data);
    if (channels > 1) for (let i = 0; i < bgr.length; i += channels) [bgr[i], bgr[i + 2]] = [bgr[i + 2]!, bgr[i]!];
    return { data, bgr, width: info.width, height: info.height, channels };
  };

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

  it('that is a part of another, with a step longer than its rows', async () => {
    const { bgr, width, height } = await raw(3);
    const whole = new Mat(bgr, height, width, CV_8UC3);
    const part = whole.getRegion(new Rect(50, 20, 500, 700));
    const rows = Buffer.concat(Array.from({ length: 700 }, (_, y) => bgr.subarray(((y + 20) * width + 50) * 3, ((y + 20) * width + 550) * 3)));
    expect(await recognizer.faces(part)).toEqual(await recognizer.faces({ data: rows, width: 500, height: 700, channels: 3, order: 'bgr' }));
  });

  it('of floats is refused by its type', async () => {
    const floats = new Mat(Buffer.alloc(400), 10, 10, CV_32FC1);
    await expect(recognizer.faces(floats)).rejects.toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining('CV_32FC1') });
  });
});

it.skipIf(cv !== undefined)('@u4/opencv4nodejs is not installed: its Mat is not tested with the real one', (context) => {
  context.skip('install it (OPENCV4NODEJS_DISABLE_AUTOBUILD=1) or point FAISS_VISION_OPENCV at a module that has it');
});
