import { setTimeout as sleep } from 'node:timers/promises';

/** Waits between attempts: doubling from a second to a minute, a little apart from one another so that many do not knock at once. */
export class Backoff {
  readonly #first: number;
  readonly #most: number;
  #attempts = 0;

  /** In milliseconds. */
  constructor(first = 1000, most = 60_000) {
    this.#first = first;
    this.#most = most;
  }

  get attempts(): number {
    return this.#attempts;
  }

  reset(): void {
    this.#attempts = 0;
  }

  /** Resolves after the next wait, or early when the signal fires. */
  async wait(signal: AbortSignal): Promise<void> {
    const most = Math.min(this.#most, this.#first * 2 ** this.#attempts++);
    await sleep(most * (0.75 + Math.random() / 4), undefined, { signal }).catch(() => {});
  }
}
