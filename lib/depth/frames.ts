import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { FaissVisionError } from '../error';
import type { ImageInput } from '../image';

export interface FrameSource {
  frames: AsyncIterable<ImageInput>;
  /** Whether it has its frames already, so that each can be looked at: a folder or a film, and no camera. */
  recorded: boolean;
}

const PICTURES = /\.(jpe?g|png|webp|gif|avif|tiff?)$/i;
/** Most bytes of one JPEG in a stream: beyond it the stream is none. */
const MAX_FRAME_BYTES = 64 * 2 ** 20;

/**
 * The frames of a folder of pictures (in the order of their names), of an MJPEG stream (`http:` or `https:`), or of a camera
 * (its number) or a film (its path) through the package `@u4/opencv4nodejs`, which has to be installed for that.
 *
 * @throws ERR_SOURCE_NOT_FOUND, ERR_OPENCV_UNAVAILABLE
 */
export async function openFrames(source: string): Promise<FrameSource> {
  if (/^https?:\/\//.test(source)) return { frames: mjpegFrames(source), recorded: false };
  if (/^\d+$/.test(source)) return { frames: capturedFrames(Number(source)), recorded: false };
  const stat = await fs.stat(source).catch((cause: unknown) => {
    throw new FaissVisionError('ERR_SOURCE_NOT_FOUND', `"${source}" is no folder, no film, no camera's number and no http address`, { cause });
  });
  return { frames: stat.isDirectory() ? pictures(source) : capturedFrames(source), recorded: true };
}

async function* pictures(folder: string): AsyncGenerator<ImageInput> {
  const names = (await fs.readdir(folder)).filter((name) => PICTURES.test(name));
  for (const name of names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))) yield path.join(folder, name);
}

/** What is used of OpenCV. */
interface OpenCv {
  VideoCapture: new (source: number | string) => { readAsync(): Promise<Mat>; release(): void };
}
interface Mat {
  empty: boolean;
  cols: number;
  rows: number;
  channels: number;
  getDataAsync(): Promise<Buffer>;
}

async function* capturedFrames(source: number | string): AsyncGenerator<ImageInput> {
  let opencv: OpenCv;
  try {
    opencv = require('@u4/opencv4nodejs') as OpenCv;
  } catch (cause) {
    const message = `"${source}": cameras and films need the package @u4/opencv4nodejs, which cannot be loaded`;
    throw new FaissVisionError('ERR_OPENCV_UNAVAILABLE', message, { cause });
  }
  const capture = new opencv.VideoCapture(source);
  try {
    for (;;) {
      const mat = await capture.readAsync();
      if (mat.empty) return;
      const channels = mat.channels as 1 | 3 | 4;
      yield { data: await mat.getDataAsync(), width: mat.cols, height: mat.rows, channels, order: 'bgr' };
    }
  } finally {
    capture.release();
  }
}

/** The JPEG pictures of a `multipart/x-mixed-replace` answer (RFC 2046, 5.1), as network cameras send them. */
export async function* mjpegFrames(url: string): AsyncGenerator<Uint8Array> {
  const stop = new AbortController();
  try {
    const response = await fetch(url, { signal: stop.signal }).catch((cause: unknown) => {
      throw new FaissVisionError('ERR_SOURCE_NOT_FOUND', `${url} does not answer`, { cause });
    });
    const type = response.headers.get('content-type') ?? '';
    const boundary = /^multipart\/x-mixed-replace\b.*;\s*boundary="?([^";]+)"?/i.exec(type)?.[1];
    if (!response.ok || !response.body || boundary === undefined) {
      const got = `${response.status} with "${type}"`;
      throw new FaissVisionError('ERR_SOURCE_NOT_FOUND', `${url} answers ${got}, expected an MJPEG stream (multipart/x-mixed-replace)`);
    }
    // Some cameras write the dashes into the header as well.
    const line = Buffer.from(`--${boundary.replace(/^--/, '')}`);
    let pending: Buffer = Buffer.alloc(0);
    for await (const chunk of response.body) {
      pending = Buffer.concat([pending, chunk as Uint8Array]);
      for (let part = takePart(pending, line); part; part = takePart(pending, line)) {
        pending = part.rest;
        if (part.content.length > 0) yield part.content;
      }
      if (pending.length > MAX_FRAME_BYTES) {
        throw new FaissVisionError('ERR_IMAGE_TOO_LARGE', `${url} sends a frame of more than ${MAX_FRAME_BYTES} bytes`);
      }
    }
  } finally {
    stop.abort();
  }
}

/** The first whole part: by its length where it gives one, else up to the next boundary. */
function takePart(bytes: Buffer, line: Buffer): { content: Uint8Array; rest: Buffer } | undefined {
  const begin = bytes.indexOf(line);
  const headerEnd = begin < 0 ? -1 : bytes.indexOf('\r\n\r\n', begin);
  if (headerEnd < 0) return undefined;
  const length = /content-length:\s*(\d+)/i.exec(bytes.toString('latin1', begin, headerEnd))?.[1];
  const contentBegin = headerEnd + 4;
  const end = length !== undefined ? contentBegin + Number(length) : bytes.indexOf(Buffer.concat([Buffer.from('\r\n'), line]), contentBegin);
  if (end < 0 || end > bytes.length) return undefined;
  return { content: Uint8Array.from(bytes.subarray(contentBegin, end)), rest: bytes.subarray(end) };
}
