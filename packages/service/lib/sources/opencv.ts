import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import type { RawImage } from 'faiss-vision';
import { FaissVisionError } from '../error.js';
import { cleaned } from './address.js';

interface Answer {
  frame?: RawImage;
  end?: true;
  error?: { code?: string; message: string };
}

/** Whether `@u4/opencv4nodejs` is installed beside faiss-vision; whether it loads, its worker will tell. */
export function hasOpenCv(): boolean {
  try {
    createRequire(createRequire(import.meta.url).resolve('faiss-vision')).resolve('@u4/opencv4nodejs');
    return true;
  } catch {
    return false;
  }
}

/** A source's frames as raw pixels, by OpenCV's VideoCapture in a worker of its own: always the newest. */
export async function* openCvFrames(source: string, fps: number, signal: AbortSignal): AsyncGenerator<RawImage> {
  const worker = new Worker(new URL('./capture-worker.js', import.meta.url), { workerData: { source, fps } });
  let tell = (_: Answer) => {};
  const died = (message: string) => tell({ error: { code: 'ERR_SOURCE_FAILED', message } });
  worker.on('message', (answer: Answer) => tell(answer));
  worker.on('error', (error) => died(error.message));
  worker.on('exit', (code) => died(`the capturing thread ended with ${code}`));
  const abort = () => tell({ end: true });
  signal.addEventListener('abort', abort, { once: true });
  try {
    while (!signal.aborted) {
      const answer = await new Promise<Answer>((resolve) => {
        tell = resolve;
        worker.postMessage('next');
      });
      if (answer.error) throw new FaissVisionError(answer.error.code ?? 'ERR_SOURCE_FAILED', cleaned(answer.error.message, source));
      if (!answer.frame) return;
      yield answer.frame;
    }
  } finally {
    signal.removeEventListener('abort', abort);
    tell = () => {};
    void worker.terminate();
  }
}
