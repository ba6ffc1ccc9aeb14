import { setTimeout as sleep } from 'node:timers/promises';
import type { DepthEstimator, DepthMap, ImageInput } from 'faiss-vision';
import { Newest } from './newest.js';

export interface DepthOptions {
  depth: DepthEstimator;
  /** Seconds from one map to the next. */
  every: number;
  clearAt: number;
  onMap(map: DepthMap): void;
  onNear(near: boolean, coverage: number): void;
  onError(error: unknown): void;
}

/** One camera's depth: the library's own watch over its newest frames, at a pace of its own. */
export class CameraDepth {
  readonly frames = new Newest<ImageInput>();
  estimated = 0;
  readonly #options: DepthOptions;
  #stop = new AbortController();
  #near = false;
  #running: Promise<void>;

  constructor(options: DepthOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Ends an alert, as nobody sees any more whether it lasts. */
  lost(): void {
    this.frames.clear();
    if (this.#near) this.#tell(false, 0);
    this.#stop.abort();
    this.#stop = new AbortController();
  }

  async close(): Promise<void> {
    this.frames.close();
    this.lost();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { depth, every, clearAt, onMap, onError } = this.#options;
    const source = this.frames[Symbol.asyncIterator]();
    let over = false;
    // Not `yield*`: the end of a watch must leave the source open for the next.
    const frames = async function* () {
      for (;;) {
        const { done, value } = await source.next();
        if (done) over = true;
        if (done) return;
        yield value;
      }
    };
    while (!over) {
      const { signal } = this.#stop;
      const watch = depth.watch(frames(), { signal, stallAfter: Infinity, clearAt });
      const tell = (near: boolean, coverage: number) => signal.aborted || this.#tell(near, coverage);
      watch.on('near', ({ coverage }) => tell(true, coverage)).on('clear', ({ coverage }) => tell(false, coverage));
      try {
        for await (const map of watch) {
          this.estimated++;
          onMap(map);
          await sleep(every * 1000, undefined, { signal, ref: false }).catch(() => {});
        }
      } catch (error) {
        onError(error);
        await sleep(1000, undefined, { ref: false });
      }
    }
  }

  #tell(near: boolean, coverage: number): void {
    if (near === this.#near) return;
    this.#near = near;
    this.#options.onNear(near, coverage);
  }
}
