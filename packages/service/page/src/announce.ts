import { signal } from '@preact/signals';

/** What a screen reader says next; many events become one sentence. */
export const announcement = signal('');

const PAUSE = 4000;
let waiting: string[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;
let last = -Infinity;

export function announce(text: string): void {
  waiting.push(text);
  timer ??= setTimeout(say, Math.max(0, last + PAUSE - performance.now()));
}

function say(): void {
  timer = undefined;
  last = performance.now();
  const latest = waiting.at(-1)!;
  announcement.value = waiting.length === 1 ? latest : `${waiting.length} new events. The latest: ${latest}`;
  waiting = [];
}
