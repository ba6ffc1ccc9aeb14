import { EventEmitter } from 'node:events';
import { FaissVisionError } from '../error';
import type { ImageInput } from '../image';
import { invalid } from '../image/check';
import { NEAR_COVERAGE, type DepthMap } from './depth-map';

export interface WatchOptions {
  /** Ends the watch, without an error. */
  signal?: AbortSignal;
  /** Seconds without a new frame after which the watch fails with ERR_SOURCE_STALLED. Default 60; Infinity waits for ever. */
  stallAfter?: number;
  /** Coverage at which an alert ends, at most 0.35, where it begins. Default 0.3. */
  clearAt?: number;
  /** Takes the next frame only when the last one is done, so that none is dropped: for recordings and folders. Default false. */
  everyFrame?: boolean;
}

export interface WatchEvents {
  /** Something came near: coverage is above 0.35, and there was no alert. */
  near: [map: DepthMap];
  /** It went away: coverage is at most `clearAt`, and there was an alert. */
  clear: [map: DepthMap];
}

/** Where the coverage between the two thresholds leaves things as they are. */
const CLEAR_COVERAGE = 0.3;

/**
 * The depth maps of a stream of frames, always of the newest: while one frame is estimated, those that come are dropped but
 * for the last. Iterate it once, `for await (const map of watch)`; frames are read from the first step on. It ends when the
 * source ends, after its last frame, and when the signal fires; it throws what the source or the estimator throws.
 */
export class DepthWatch extends EventEmitter<WatchEvents> implements AsyncIterable<DepthMap> {
  readonly #frames: AsyncIterable<ImageInput>;
  readonly #estimate: (frame: ImageInput) => Promise<DepthMap>;
  readonly #signal: AbortSignal | undefined;
  readonly #stallAfter: number;
  readonly #clearAt: number;
  readonly #everyFrame: boolean;
  #newest: NewestFrame | undefined;
  #estimated = 0;
  #frame = 0;
  #alert = false;

  /** @throws ERR_INVALID_ARGUMENT */
  constructor(frames: AsyncIterable<ImageInput>, estimate: (frame: ImageInput) => Promise<DepthMap>, options: WatchOptions = {}) {
    super();
    const { signal, stallAfter = 60, clearAt = CLEAR_COVERAGE, everyFrame = false } = options;
    if (typeof frames?.[Symbol.asyncIterator] !== 'function') throw invalid('frames', 'an async iterable of images', frames);
    if (signal !== undefined && !(signal instanceof AbortSignal)) throw invalid('signal', 'an AbortSignal', signal);
    if (typeof stallAfter !== 'number' || !(stallAfter > 0)) throw invalid('stallAfter', 'a number of seconds above 0', stallAfter);
    if (typeof clearAt !== 'number' || !(clearAt >= 0 && clearAt <= NEAR_COVERAGE)) {
      throw invalid('clearAt', `a number from 0 to ${NEAR_COVERAGE}`, clearAt);
    }
    if (typeof everyFrame !== 'boolean') throw invalid('everyFrame', 'true or false', everyFrame);
    this.#frames = frames;
    this.#estimate = estimate;
    this.#signal = signal;
    this.#stallAfter = stallAfter;
    this.#clearAt = clearAt;
    this.#everyFrame = everyFrame;
  }

  /** Frames that came. */
  get received(): number {
    return this.#newest?.received ?? 0;
  }

  /** Frames that a newer one replaced before their turn. */
  get dropped(): number {
    return this.#newest?.dropped ?? 0;
  }

  /** Frames whose map was given out. */
  get estimated(): number {
    return this.#estimated;
  }

  /** Number of the frame that the last map is of, from 1 on; 0 before it. */
  get frame(): number {
    return this.#frame;
  }

  /** Whether the last event was `near`. */
  get alert(): boolean {
    return this.#alert;
  }

  [Symbol.asyncIterator](): AsyncGenerator<DepthMap, void, undefined> {
    if (this.#newest) throw new FaissVisionError('ERR_ALREADY_WATCHED', 'a DepthWatch can be iterated once; watch the source again');
    this.#newest = new NewestFrame(this.#frames, this.#stallAfter, this.#everyFrame);
    return this.#maps(this.#newest);
  }

  async *#maps(newest: NewestFrame): AsyncGenerator<DepthMap, void, undefined> {
    const signal = this.#signal;
    let abort = () => {};
    const aborted = new Promise<undefined>((resolve) => (abort = () => resolve(undefined)));
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) abort();
    try {
      newest.start();
      for (;;) {
        const frame = await Promise.race([aborted, newest.next()]);
        if (frame === undefined || signal?.aborted) return;
        const estimate = this.#estimate(frame.image);
        estimate.catch(() => {}); // of a frame that nobody waits for any more
        const map = await Promise.race([aborted, estimate]);
        if (map === undefined || signal?.aborted) return;
        this.#estimated++;
        this.#frame = frame.number;
        this.#tell(map);
        yield map;
      }
    } catch (error) {
      // A source that heeds the same signal fails when it fires; that is the end which was asked for.
      if (!signal?.aborted) throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
      newest.stop();
    }
  }

  #tell(map: DepthMap): void {
    const { coverage } = map;
    if (!this.#alert && coverage > NEAR_COVERAGE) {
      this.#alert = true;
      this.emit('near', map);
    } else if (this.#alert && coverage <= this.#clearAt) {
      this.#alert = false;
      this.emit('clear', map);
    }
  }
}

interface Frame {
  image: ImageInput;
  number: number;
}

/** Reads a source in the background and holds no more than its newest frame. */
class NewestFrame {
  received = 0;
  dropped = 0;
  readonly #source: AsyncIterable<ImageInput>;
  readonly #stallAfter: number;
  readonly #everyFrame: boolean;
  #iterator: AsyncIterator<ImageInput> | undefined;
  #frame: Frame | undefined;
  #ended = false;
  #failure: { reason: unknown } | undefined;
  #stallTimer: NodeJS.Timeout | undefined;
  /** Wakes who waits for a frame, and who waits for the frame to be taken. */
  #changed = () => {};
  #taken = () => {};

  constructor(source: AsyncIterable<ImageInput>, stallAfter: number, everyFrame: boolean) {
    this.#source = source;
    this.#stallAfter = stallAfter;
    this.#everyFrame = everyFrame;
  }

  start(): void {
    void this.#read();
  }

  /** The newest frame that was not given out yet, once there is one; undefined at the end. */
  async next(): Promise<Frame | undefined> {
    for (;;) {
      const frame = this.#frame;
      if (frame) {
        this.#frame = undefined;
        this.#taken();
        return frame;
      }
      if (this.#failure) throw this.#failure.reason;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => (this.#changed = resolve));
    }
  }

  /** Reads no more and lets the source go. */
  stop(): void {
    clearTimeout(this.#stallTimer);
    this.#frame = undefined;
    const finished = this.#ended || this.#failure !== undefined;
    this.#ended = true;
    this.#changed();
    this.#taken();
    if (!finished) this.#release();
  }

  async #read(): Promise<void> {
    try {
      this.#iterator = this.#source[Symbol.asyncIterator]();
      for (;;) {
        this.#watchForStall();
        const { done, value } = await this.#iterator.next();
        clearTimeout(this.#stallTimer);
        if (this.#ended || this.#failure) return; // stopped or given up meanwhile
        if (done) break;
        this.received++;
        if (this.#frame) this.dropped++;
        this.#frame = { image: value, number: this.received };
        this.#changed();
        if (this.#everyFrame) await new Promise<void>((resolve) => (this.#taken = resolve));
        // A source that has its frames at hand must not keep everything else from running.
        else await new Promise<void>((resolve) => setImmediate(resolve));
        if (this.#ended) return;
      }
      this.#ended = true;
    } catch (reason) {
      clearTimeout(this.#stallTimer);
      this.#failure ??= { reason };
    }
    this.#changed();
  }

  #watchForStall(): void {
    if (this.#stallAfter === Infinity) return;
    this.#stallTimer = setTimeout(() => {
      const when = this.received === 0 ? 'no frame at all' : `no frame after number ${this.received}`;
      this.#failure = { reason: new FaissVisionError('ERR_SOURCE_STALLED', `frames: the source gave ${when} for ${this.#stallAfter} s`) };
      this.#release();
      this.#changed();
    }, Math.min(this.#stallAfter * 1000, 2 ** 31 - 1));
  }

  /** Not waited for: a source that hangs answers this only after the frame that it owes. */
  #release(): void {
    try {
      this.#iterator?.return?.().catch(() => {});
    } catch {
      // it has no frame to give any more, and nobody asks for one
    }
  }
}
