/** A place for one thing, where a newer one takes the older one's place: the queue in front of a stage that may be slower. */
export class Newest<T> {
  /** How many came, and how many a newer one replaced before their turn. */
  received = 0;
  dropped = 0;
  #item: { value: T } | undefined;
  #closed = false;
  #wake = () => {};
  readonly #letGo: (value: T) => void;

  /** @param letGo gets what was dropped */
  constructor(letGo: (value: T) => void = () => {}) {
    this.#letGo = letGo;
  }

  put(value: T): void {
    if (this.#closed) return;
    this.received++;
    this.clear();
    this.#item = { value };
    this.#wake();
  }

  get waiting(): number {
    return this.#item ? 1 : 0;
  }

  /** The newest that was not taken yet, once there is one; it ends when this is closed. One reader only. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const item = this.#item;
      if (item) {
        this.#item = undefined;
        yield item.value;
      } else if (this.#closed) {
        return;
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    }
  }

  /** Lets go what waits. */
  clear(): void {
    const item = this.#item;
    if (!item) return;
    this.#item = undefined;
    this.dropped++;
    this.#letGo(item.value);
  }

  /** What waits is still given out. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }
}
