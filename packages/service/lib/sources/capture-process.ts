// Reads a camera or a film with OpenCV, in a process of its own: its calls may hang, it writes addresses with their passwords to standard
// error, and the package's addon holds one camera's classes for a whole process. Sends a frame when asked, always the newest.
import { setTimeout as sleep } from 'node:timers/promises';
import { capturedFramesSync } from 'faiss-vision/frames';
import { codeOf, messageOf } from '../error.js';

const [source, kind, fps] = process.argv.slice(2) as [string, 'film' | 'live', string];
let asked = 0;
let ask = () => {};
process.on('message', () => {
  asked++;
  ask();
});
process.once('disconnect', () => process.exit());

async function read(): Promise<void> {
  const { framesPerSecond, frames } = capturedFramesSync(/^\d+$/.test(source) ? Number(source) : source, kind === 'live');
  const period = 1000 / (framesPerSecond > 0 ? framesPerSecond : Number(fps));
  let due = performance.now();
  for (const frame of frames) {
    // A film goes at its own pace, as if it were a camera.
    due = Math.max(due + period, performance.now());
    await sleep(kind === 'film' ? due - performance.now() : 0); // and hears whether a frame is asked for
    if (asked === 0) continue;
    asked--;
    // Nothing is sent while the next frame is waited for.
    await new Promise((sent) => process.send!({ frame: frame() }, sent));
  }
}

const last: object = await read().then(
  () => ({ end: true }),
  (error: unknown) => ({ error: { code: codeOf(error), message: messageOf(error) } }),
);
if (asked === 0) await new Promise<void>((resolve) => (ask = resolve));
process.send!(last, () => process.disconnect());
