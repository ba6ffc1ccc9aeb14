import { visionAddon } from '../addon';

const SOON = 1000; // milliseconds
const SHARE = 50; // of the time from one to the next it may take this part

let timer: NodeJS.Timeout | undefined;
let next = 0;

/**
 * Has what photos took of the process's memory given back to the system within a second or so, on another thread.
 * glibc keeps what was freed for each thread that decodes, some 10 MB each and now and then more; asked for after each photo it costs
 * a twentieth of the processor's time, once a second next to nothing.
 */
export function giveBackSoon(): void {
  timer ??= setTimeout(giveBack, Math.max(SOON, next - performance.now())).unref();
}

function giveBack(): void {
  timer = undefined;
  const set = (milliseconds: number) => void (next = performance.now() + SHARE * milliseconds);
  visionAddon().giveBackMemory().then(set, () => {}); // an addon that is being closed has nothing to give back
}
