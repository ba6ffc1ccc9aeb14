import { fork } from 'node:child_process';
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import type { RawImage } from 'faiss-vision';
import { FaissVisionError } from '../error.js';
import { cleaned } from './address.js';

interface Answer {
  frame?: RawImage;
  end?: true;
  error?: { code?: string; message: string };
}

/** Whether `@u4/opencv4nodejs` is installed beside faiss-vision; whether it loads, its process will tell. */
export function hasOpenCv(): boolean {
  try {
    createRequire(createRequire(import.meta.url).resolve('faiss-vision')).resolve('@u4/opencv4nodejs');
    return true;
  } catch {
    return false;
  }
}

/** A source's frames as raw pixels, by OpenCV's VideoCapture in a process of its own: always the newest. A film goes at its own pace. */
export async function* openCvFrames(source: string, { fps, film }: { fps: number; film: boolean }, signal: AbortSignal): AsyncGenerator<RawImage> {
  // Pixels from another process count as V8's until it collects: at its own pace it would collect all of its heap once a second.
  setFlagsFromString('--heap-growing-percent=100');
  const child = fork(new URL('./capture-process.js', import.meta.url), [source, film ? 'film' : 'live', String(fps)], {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    execArgv: [],
    // Else it would insist on TCP, which not every camera has.
    env: { OPENCV_FFMPEG_CAPTURE_OPTIONS: 'rtsp_flags;prefer_tcp', ...process.env },
    // What a terminal sends to everybody is for the service to act on.
    detached: true,
  });
  let over: Answer | undefined;
  let tell = (_: Answer) => {};
  const end = (answer: Answer) => tell((over ??= answer));
  const died = (message: string) => end({ error: { code: 'ERR_SOURCE_FAILED', message } });
  child.on('message', (answer: Answer) => tell(answer));
  child.on('error', (error) => died(error.message));
  child.on('exit', (code, killed) => died(`the capturing process ended with ${code ?? killed}`));
  const abort = () => end({ end: true });
  signal.addEventListener('abort', abort, { once: true });
  try {
    while (!signal.aborted) {
      const answer = await new Promise<Answer>((resolve) => {
        tell = resolve;
        if (over) resolve(over);
        else child.send('next', (error) => error && died(error.message));
      });
      if (answer.error) throw new FaissVisionError(answer.error.code ?? 'ERR_SOURCE_FAILED', cleaned(answer.error.message, source));
      if (!answer.frame) return;
      yield answer.frame;
    }
  } finally {
    signal.removeEventListener('abort', abort);
    tell = () => {};
    child.kill('SIGKILL');
  }
}
