import * as fs from 'node:fs/promises';
import { createRequire } from 'node:module';
import * as path from 'node:path';
import { visionAddon } from '../addon';
import { ownBuffer } from '../buffers';
import { FaissVisionError } from '../error';
import type { ImageInput, MatLike, RawImage } from '../image';
import { matPixels, matPixelsAsync } from '../image/mat';

/** Where frames come from. */
export interface FrameSource {
  /** Bytes of encoded pictures, their paths, or raw pixels; iterate them once. */
  frames: AsyncIterable<ImageInput>;
  /** Whether it has its frames already, so that each can be looked at: a folder or a film, and no camera. */
  recorded: boolean;
}

const PICTURES = /\.(jpe?g|png|webp|gif|avif|tiff?)$/i;
/** Most bytes of one JPEG in a stream: beyond it the stream is none. */
const MAX_FRAME_BYTES = 64 * 2 ** 20;

/**
 * The frames of a folder of pictures (in the order of their names), of an MJPEG stream (`http:` or `https:`), or of a camera
 * (its number or `rtsp:` address) or a film (its path) through the package `@u4/opencv4nodejs`, which has to be installed for that.
 * Opened when the first frame is asked for.
 *
 * @param signal ends an MJPEG stream that hangs
 * @throws ERR_SOURCE_NOT_FOUND for a path that is nothing. Reading throws it for what cannot be opened, ERR_OPENCV_UNAVAILABLE,
 * and ERR_SOURCE_FAILED where a camera gives no more frames
 */
export async function openFrames(source: string, signal?: AbortSignal): Promise<FrameSource> {
  if (/^https?:\/\//.test(source)) return { frames: mjpegFrames(source, signal), recorded: false };
  if (/^rtsps?:\/\//.test(source)) return { frames: capturedFrames(source, true), recorded: false };
  if (/^\d+$/.test(source)) return { frames: capturedFrames(Number(source), true), recorded: false };
  const stat = await fs.stat(source).catch((cause: unknown) => {
    throw new FaissVisionError('ERR_SOURCE_NOT_FOUND', `"${source}" is no folder, no film, no camera's number and no http address`, { cause });
  });
  return { frames: stat.isDirectory() ? pictures(source) : capturedFrames(source, false), recorded: true };
}

async function* pictures(folder: string): AsyncGenerator<ImageInput> {
  const names = (await fs.readdir(folder)).filter((name) => PICTURES.test(name));
  for (const name of names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))) yield path.join(folder, name);
}

/** What is used of OpenCV. */
interface OpenCv {
  VideoCapture: new (source: number | string) => Capture;
}
interface Capture {
  get(property: number): number;
  read(): CapturedMat;
  readAsync(): Promise<CapturedMat>;
  release(): void;
}
interface CapturedMat extends MatLike {
  readonly empty: boolean;
  copyToAsync(destination: MatLike): Promise<unknown>;
  release(): void;
}

/** @param live whether an end is a failure: a camera has none of its own */
export async function* capturedFrames(source: number | string, live: boolean): AsyncGenerator<ImageInput> {
  const what = named(source, live);
  const capture = openCapture(source, what);
  try {
    for (;;) {
      const pixels = await nextPixels(capture, what).catch((cause: unknown) => {
        throw new FaissVisionError('ERR_SOURCE_FAILED', `${what}: OpenCV cannot read the next frame: ${reason(cause)}`, { cause });
      });
      if (pixels) yield pixels;
      else if (live) throw new FaissVisionError('ERR_SOURCE_FAILED', `${what} gives no more frames`);
      else return;
    }
  } finally {
    capture.release();
  }
}

/** OpenCV's number for it. */
const CAP_PROP_FPS = 5;

/** A source that is open. */
export interface CapturedFrames {
  /** A film's own pace; 0 where the source does not tell. */
  framesPerSecond: number;
  /** Each to be called before the next, for its pixels, which are copied only then. */
  frames: Generator<() => RawImage, void, undefined>;
}

/**
 * The same, waiting for each frame on the calling thread, which should be one of its own: `capturedFrames` waits on one of the few
 * threads that all reading of files and decoding of pictures in the process share.
 */
export function capturedFramesSync(source: number | string, live: boolean): CapturedFrames {
  const what = named(source, live);
  const capture = openCapture(source, what);
  function* frames(): CapturedFrames['frames'] {
    try {
      for (let mat = capture.read(); !mat.empty; mat = capture.read()) {
        yield () => matPixels(mat, what);
        mat.release();
      }
      if (live) throw new FaissVisionError('ERR_SOURCE_FAILED', `${what} gives no more frames`);
    } finally {
      capture.release();
    }
  }
  return { framesPerSecond: capture.get(CAP_PROP_FPS), frames: frames() };
}

function named(source: number | string, live: boolean): string {
  return live ? `camera ${source}` : `"${source}"`;
}

/** The optional peer, without the log that its builder writes to standard output each time it is loaded. */
function loadOpenCv(): OpenCv {
  const { Log } = createRequire(require.resolve('@u4/opencv4nodejs'))('@u4/opencv-build') as { Log: { silence?: boolean } };
  const { silence } = Log;
  Log.silence = true;
  try {
    return require('@u4/opencv4nodejs') as OpenCv;
  } finally {
    Log.silence = silence ?? false;
  }
}

/** Opened on the calling thread, as the package has no other way. */
function openCapture(source: number | string, what: string): Capture {
  let opencv: OpenCv;
  try {
    opencv = loadOpenCv();
  } catch (cause) {
    const message = `${what}: cameras and films need the package @u4/opencv4nodejs, which cannot be loaded`;
    throw new FaissVisionError('ERR_OPENCV_UNAVAILABLE', message, { cause });
  }
  try {
    return new opencv.VideoCapture(source);
  } catch (cause) {
    throw new FaissVisionError('ERR_SOURCE_NOT_FOUND', `${what} cannot be opened by OpenCV: ${reason(cause)}`, { cause });
  }
}

async function nextPixels(capture: Capture, what: string): Promise<ImageInput | undefined> {
  const mat = await capture.readAsync();
  if (mat.empty) return undefined;
  const pixels = await matPixelsAsync(mat, what);
  // V8 sees only the handle of OpenCV's memory and would collect it too late.
  mat.release();
  return pixels;
}

/** The package rejects with a text instead of an error. */
function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** The JPEG pictures of a `multipart/x-mixed-replace` answer (RFC 2046, 5.1), as network cameras send them. */
export async function* mjpegFrames(url: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  const stop = new AbortController();
  const { address, headers, shown } = withoutPassword(url);
  try {
    const response = await fetch(address, { headers, signal: signal ? AbortSignal.any([stop.signal, signal]) : stop.signal }).catch((cause: unknown) => {
      throw new FaissVisionError('ERR_SOURCE_NOT_FOUND', `${shown} does not answer`, { cause });
    });
    const type = response.headers.get('content-type') ?? '';
    const boundary = /^multipart\/x-mixed-replace\b.*;\s*boundary="?([^";]+)"?/i.exec(type)?.[1];
    if (!response.ok || !response.body || boundary === undefined) {
      const got = `${response.status} with "${type}"`;
      throw new FaissVisionError('ERR_SOURCE_NOT_FOUND', `${shown} answers ${got}, expected an MJPEG stream (multipart/x-mixed-replace)`);
    }
    yield* multipartFrames(response.body as AsyncIterable<Uint8Array>, boundary, shown);
  } finally {
    stop.abort();
  }
}

/** An address as fetch takes it: user and password, which cameras have in theirs, go into a header, and into no message. */
function withoutPassword(url: string): { address: string; headers: Record<string, string>; shown: string } {
  const address = new URL(url);
  const { username, password } = address;
  if (username === '' && password === '') return { address: url, headers: {}, shown: url };
  address.username = address.password = '';
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { address: address.href, headers: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }, shown: address.href };
}

/**
 * The parts of a multipart stream.
 * @param boundary as its content type says
 * @param name what messages call the stream
 * @throws ERR_IMAGE_TOO_LARGE for a part of more than 64 MiB
 */
export async function* multipartFrames(chunks: AsyncIterable<Uint8Array>, boundary: string, name: string): AsyncGenerator<Uint8Array> {
  // Some cameras write the dashes into the header as well.
  const line = Buffer.from(`--${boundary.replace(/^--/, '')}`);
  let pending: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    pending = Buffer.concat([pending, chunk]);
    for (let part = takePart(pending, line); part; part = takePart(pending, line)) {
      pending = part.rest;
      if (part.content.length > 0) yield part.content;
    }
    if (pending.length > MAX_FRAME_BYTES) {
      throw new FaissVisionError('ERR_IMAGE_TOO_LARGE', `${name} sends a frame of more than ${MAX_FRAME_BYTES} bytes`);
    }
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

/** Frees the memory of pixels that nobody reads any more, where it is theirs alone; else it waits for a garbage collection. */
export function freePixels({ data }: RawImage): void {
  const own = ownBuffer(data);
  if (own) visionAddon().detach(own);
}
