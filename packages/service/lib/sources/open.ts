import { readdir, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ImageInput } from 'faiss-vision';
import { mjpegFrames, openFrames } from 'faiss-vision/frames';
import type { CameraConfig } from '../config/schema.js';
import { FaissVisionError } from '../error.js';
import { isPath, withoutPassword } from './address.js';
import { ffmpegFrames, findFfmpeg } from './ffmpeg.js';
import { hasOpenCv, openCvFrames } from './opencv.js';

/**
 * A camera's frames: JPEG bytes, paths or raw pixels. It ends when a film or a folder does, and when the signal fires.
 * @throws ERR_SOURCE_NOT_FOUND, ERR_SOURCE_FAILED, ERR_OPENCV_UNAVAILABLE where nothing that reads it is installed
 */
export async function* openSource(camera: CameraConfig, signal: AbortSignal): AsyncGenerator<ImageInput> {
  const { source, fps, repeat, reader } = camera;
  if (/^https?:\/\//.test(source) && reader === 'auto') return yield* mjpegFrames(source, signal);
  const film = isPath(source);
  if (film) {
    const found = await stat(source).catch((cause: unknown) => {
      throw new FaissVisionError('ERR_SOURCE_NOT_FOUND', `there is no film and no folder "${source}"`, { cause });
    });
    if (found.isDirectory()) return yield* folder(source, fps, repeat, signal);
  }
  if (readerOf(camera) === 'ffmpeg') return yield* ffmpegFrames(findFfmpeg()!, source, { fps, film, repeat }, signal);
  do yield* openCvFrames(source, { fps, film }, signal);
  while (film && repeat && !signal.aborted);
}

function readerOf({ source, reader }: CameraConfig): 'opencv' | 'ffmpeg' {
  const opencv = hasOpenCv();
  const ffmpeg = findFfmpeg() !== undefined;
  if (opencv && reader !== 'ffmpeg') return 'opencv';
  if (ffmpeg && reader !== 'opencv') return 'ffmpeg';
  const missing = { auto: 'the package @u4/opencv4nodejs or the program ffmpeg', opencv: 'the package @u4/opencv4nodejs', ffmpeg: 'the program ffmpeg' }[reader];
  throw new FaissVisionError('ERR_OPENCV_UNAVAILABLE', `"${withoutPassword(source)}" needs ${missing}, which is not installed`);
}

async function* folder(path: string, fps: number, repeat: boolean, signal: AbortSignal): AsyncGenerator<ImageInput> {
  if ((await readdir(path)).length === 0) throw new FaissVisionError('ERR_SOURCE_NOT_FOUND', `the folder "${path}" is empty`);
  do {
    const { frames } = await openFrames(path);
    for await (const frame of frames) {
      yield frame;
      await sleep(1000 / fps, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
    }
  } while (repeat);
}
