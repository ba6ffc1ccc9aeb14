const MINUTE = 60_000;
/** Most addresses that are remembered; the oldest is forgotten first. */
const MOST = 10_000;

/** Counts what an address did wrong within a minute. */
export class FailureLimit {
  readonly #most: number;
  readonly #counts = new Map<string, { count: number; until: number }>();

  constructor(most: number) {
    this.#most = most;
  }

  count(address: string): void {
    const now = Date.now();
    const entry = this.#counts.get(address);
    if (entry && entry.until > now) {
      entry.count++;
      return;
    }
    this.#counts.delete(address);
    this.#counts.set(address, { count: 1, until: now + MINUTE });
    if (this.#counts.size > MOST) this.#counts.delete(this.#counts.keys().next().value!);
  }

  blocked(address: string): boolean {
    const entry = this.#counts.get(address);
    return entry !== undefined && entry.until > Date.now() && entry.count >= this.#most;
  }
}
