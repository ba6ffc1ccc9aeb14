import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { multipartFrames } from 'faiss-vision/frames';
import { FaissVisionError } from '../error.js';
import { cleaned, deviceOf } from './address.js';

/** The path of the program, or undefined where it is not installed. */
export function findFfmpeg(): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, 'ffmpeg');
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // the next
    }
  }
  return undefined;
}

export interface FfmpegOptions {
  fps: number;
  /** A film: at its own pace, from the beginning again where it repeats. */
  film: boolean;
  repeat: boolean;
}

/** A source's frames as JPEG pictures, read by a process of its own. */
export async function* ffmpegFrames(program: string, source: string, { fps, film, repeat }: FfmpegOptions, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const device = deviceOf(source);
  const input = device ? ['-f', 'v4l2', '-i', device] : ['-i', film ? `file:${source}` : source];
  const before = film ? ['-re', ...(repeat ? ['-stream_loop', '-1'] : [])] : /^rtsps?:/.test(source) ? ['-rtsp_flags', 'prefer_tcp'] : [];
  // mpjpeg: the same shape as a network camera's stream.
  const output = ['-an', '-vf', `fps=${fps}`, '-c:v', 'mjpeg', '-pix_fmt', 'yuvj420p', '-q:v', '3', '-f', 'mpjpeg', 'pipe:1'];
  const child = spawn(program, ['-nostdin', '-hide_banner', '-loglevel', 'error', '-fflags', 'nobuffer', ...before, ...input, ...output], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-2000)));
  const ended = new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, killed) => resolve(code ?? killed ?? 'unknown'));
  });
  const kill = () => child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  if (signal.aborted) kill();
  try {
    yield* multipartFrames(child.stdout as AsyncIterable<Uint8Array>, 'ffmpeg', 'ffmpeg');
    const code = await ended;
    if (code === 0 && film) return;
    if (signal.aborted) return;
    // What it said of an attempt that it mended is no reason.
    const reason = code === 0 ? 'the stream ended' : said.trim().split('\n').at(-1) || `it ended with ${code}`;
    throw new FaissVisionError('ERR_SOURCE_FAILED', `ffmpeg: ${cleaned(reason, source)}`);
  } finally {
    signal.removeEventListener('abort', kill);
    kill();
  }
}
