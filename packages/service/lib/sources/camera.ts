import { EventEmitter } from 'node:events';
import type { ImageInput } from 'faiss-vision';
import type { CameraConfig } from '../config/schema.js';
import { messageOf } from '../error.js';
import { cleaned, isPath } from './address.js';
import { Backoff } from './backoff.js';
import { openSource } from './open.js';

/** starting: opened, no frame yet. live: frames come. stalled: none for a while. lost: given up, opened again with growing waits. */
export type CameraState = 'starting' | 'live' | 'stalled' | 'lost';

export interface CameraStatus {
  state: CameraState;
  /** Why, where it is stalled or lost. */
  reason?: string;
  /** When it came into this state. */
  since: Date;
}

interface CameraEvents {
  frame: [image: ImageInput];
  state: [status: CameraStatus];
  lost: [reason: string];
  back: [];
}

/** One source, opened again and again until it is stopped. */
export class Camera extends EventEmitter<CameraEvents> {
  readonly config: CameraConfig;
  /** Frames that came, and of them those that came too soon for the camera's `fps`. */
  received = 0;
  skipped = 0;
  readonly #stop = new AbortController();
  readonly #backoff: Backoff;
  readonly #open: typeof openSource;
  #status: CameraStatus = { state: 'starting', since: new Date() };
  #told: boolean;
  #due = 0;
  #running: Promise<void> | undefined;

  /** @param told whether somebody was told that it is lost, and not yet that it is back */
  constructor(config: CameraConfig, { told = false, backoff = new Backoff(), open = openSource } = {}) {
    super();
    this.config = config;
    this.#told = told;
    this.#backoff = backoff;
    this.#open = open;
  }

  get status(): CameraStatus {
    return this.#status;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Resolves once the source is let go. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const reason = await this.#read(signal);
      if (signal.aborted) return;
      this.#become('lost', reason ?? 'the film is over');
      if (!this.#told) this.emit('lost', this.#status.reason!);
      this.#told = true;
      if (reason === undefined) return;
      await this.#backoff.wait(signal);
    }
  }

  /** Reads until the source ends (undefined) or fails (why). */
  async #read(signal: AbortSignal): Promise<string | undefined> {
    const { source, stallAfter, lostAfter } = this.config;
    const attempt = new AbortController();
    const frames = this.#open(this.config, AbortSignal.any([signal, attempt.signal]));
    let giveUp = (_: string) => {};
    const silent = new Promise<string>((resolve) => (giveUp = resolve));
    let last = performance.now(); // which nobody sets
    const watch = setInterval(() => {
      const silence = (performance.now() - last) / 1000;
      if (silence >= lostAfter) giveUp(`no frame for ${lostAfter} s`);
      else if (silence >= stallAfter && this.#status.state === 'live') this.#become('stalled', `no frame for ${stallAfter} s`);
    }, Math.min(1000, stallAfter * 250));
    const reading = (async () => {
      for await (const frame of frames) {
        if (signal.aborted || attempt.signal.aborted) return undefined;
        last = performance.now();
        this.#take(frame);
      }
      return isPath(source) ? undefined : 'the camera ended the stream';
    })().catch((error: unknown) => cleaned(messageOf(error), source));
    try {
      return await Promise.race([silent, reading]);
    } finally {
      clearInterval(watch);
      attempt.abort();
    }
  }

  #take(frame: ImageInput): void {
    this.received++;
    if (this.#status.state !== 'live') this.#become('live');
    this.#backoff.reset();
    if (this.#told) this.emit('back');
    this.#told = false;
    // By due times, so that a camera of 25 frames a second gives 10 of them and not 8.33.
    const now = performance.now();
    const period = 1000 / this.config.fps;
    if (now < this.#due - period / 4) {
      this.skipped++;
      return;
    }
    this.#due = Math.max(this.#due + period, now);
    this.emit('frame', frame);
  }

  #become(state: CameraState, reason?: string): void {
    const { state: before, reason: why } = this.#status;
    if (before === state && why === reason) return;
    this.#status = { state, since: new Date(), ...(reason === undefined ? {} : { reason }) };
    this.emit('state', this.#status);
  }
}
