import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { MatLike } from 'faiss-vision/face';
import { opencvFolder } from '../../scripts/setup/opencv.mjs';
import { cacheFolder } from '../../dist/models/cache';

export interface Mat extends MatLike {
  readonly step: number;
  readonly empty: boolean;
  getRegion(rectangle: unknown): Mat;
  release(): void;
}

/** What the tests use of `@u4/opencv4nodejs`. */
export interface OpenCv {
  Mat: {
    new (data: Buffer, rows: number, cols: number, type: number): Mat;
    new (rows: number, cols: number, type: number, data?: Buffer, step?: number): Mat;
  };
  Rect: new (x: number, y: number, width: number, height: number) => unknown;
  Size: new (width: number, height: number) => unknown;
  imread(path: string): Mat;
  VideoCapture: new (source: number | string) => { readAsync(): Promise<Mat>; release(): void };
  VideoWriter: {
    new (path: string, codec: number, framesPerSecond: number, size: unknown, color: boolean): { write(mat: Mat): void; release(): void };
    fourcc(codec: string): number;
  };
  CV_8UC1: number;
  CV_8UC3: number;
  CV_8UC4: number;
  CV_32FC1: number;
}

/** FAISS_VISION_OPENCV names another folder with node_modules that has the package. */
export const opencvModules = join(process.env.FAISS_VISION_OPENCV ?? opencvFolder(cacheFolder()), 'node_modules');

/** The real package, or why there is none: it is an optional peer, and compiled against OpenCV. */
export function loadOpenCv(): { cv: OpenCv; missing?: undefined } | { cv?: undefined; missing: string } {
  process.env.OPENCV4NODEJS_DISABLE_AUTOBUILD = '1';
  try {
    return { cv: createRequire(join(opencvModules, 'x'))('@u4/opencv4nodejs') as OpenCv };
  } catch (error) {
    const [why] = (error as Error).message.split('\n');
    return { missing: `npm run setup:opencv compiles @u4/opencv4nodejs, which cannot be loaded: ${why}` };
  }
}
