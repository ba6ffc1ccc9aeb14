import { afterEach } from 'vitest';

const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** Is done after the test, the newest first. */
export function afterwards(close: () => unknown): void {
  closing.unshift(close);
}

/** Is closed after the test. */
export function closed<T extends { close(): unknown }>(thing: T): T {
  afterwards(() => thing.close());
  return thing;
}
