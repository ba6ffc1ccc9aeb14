// Reads a camera or a film with OpenCV, whose calls may hang, in a thread of its own. Posts the newest frame when asked.
import { parentPort, workerData } from 'node:worker_threads';
import { setTimeout as sleep } from 'node:timers/promises';
import { openFrames } from 'faiss-vision/frames';
import type { RawImage } from 'faiss-vision';
import { Newest } from '../pipeline/newest.js';
import { codeOf, messageOf } from '../error.js';

const port = parentPort!;
const { source, fps } = workerData as { source: string; fps: number };
const newest = new Newest<RawImage>();

async function read(): Promise<void> {
  const { frames, recorded } = await openFrames(source);
  for await (const frame of frames) {
    newest.put(frame as RawImage);
    if (recorded) await sleep(1000 / fps);
  }
}

let failure: unknown;
const reading = read()
  .catch((error: unknown) => (failure = error ?? new Error('unknown')))
  .finally(() => newest.close());

const frames = newest[Symbol.asyncIterator]();
port.on('message', () => {
  void frames.next().then(async ({ done, value }) => {
    if (!done) {
      const data = Uint8Array.from(value.data);
      port.postMessage({ frame: { ...value, data } }, [data.buffer]);
      return;
    }
    await reading;
    port.postMessage(failure === undefined ? { end: true } : { error: { code: codeOf(failure), message: messageOf(failure) } });
    port.close();
  });
});
