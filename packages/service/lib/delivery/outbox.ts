import { Backoff } from '../sources/backoff.js';
import type { EventStore, ServiceEvent } from '../store/events.js';

/** Somebody who is told of events. */
export interface Sink {
  /** Stays over restarts: what is owed is kept under it. */
  readonly name: string;
  wants(event: Pick<ServiceEvent, 'type' | 'camera'>): boolean;
  /** Resolves once the other side has taken it; may be called again with the same event. */
  deliver(event: ServiceEvent, signal: AbortSignal): Promise<void>;
}

export interface OutboxOptions {
  events: EventStore;
  sinks: readonly Sink[];
  /** Of an attempt that failed; without an event where the database did. */
  onFailure(sink: string, event: ServiceEvent | undefined, error: unknown): void;
  onDelivered?(sink: string, event: ServiceEvent): void;
  /** Milliseconds between attempts, first and longest. */
  waits?: { first: number; most: number };
}

/**
 * Delivers what the database says is owed: each event at least once to each sink, a camera's events in their order, and
 * different cameras and sinks beside one another, so that one that is away holds nobody else up.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #stop = new AbortController();
  readonly #lanes = new Map<string, Promise<void>>();
  /** Lanes that were woken while they ran: one may have looked for the last time already. */
  readonly #again = new Set<string>();

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  get sinks(): readonly Sink[] {
    return this.#options.sinks;
  }

  /** Names of those who are to be told of such an event. */
  owing(event: Pick<ServiceEvent, 'type' | 'camera'>): string[] {
    return this.#options.sinks.filter((sink) => sink.wants(event)).map(({ name }) => name);
  }

  /** Takes up what was owed before. */
  start(): void {
    for (const { name } of this.#options.sinks) for (const camera of this.#options.events.owedCameras(name)) this.wake(camera);
  }

  /** There is something new of this camera. */
  wake(camera: string): void {
    if (this.#stop.signal.aborted) return;
    for (const sink of this.#options.sinks) {
      const lane = JSON.stringify([sink.name, camera]);
      if (this.#lanes.has(lane)) {
        this.#again.add(lane);
        continue;
      }
      const running = this.#run(sink, camera).finally(() => {
        this.#lanes.delete(lane);
        if (this.#again.delete(lane)) this.wake(camera);
      });
      this.#lanes.set(lane, running);
    }
  }

  /** Resolves once nothing more is under way; what was not delivered stays owed. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#lanes.values());
  }

  async #run(sink: Sink, camera: string): Promise<void> {
    const { events, onFailure, onDelivered, waits } = this.#options;
    const { signal } = this.#stop;
    const backoff = new Backoff(waits?.first, waits?.most);
    // Yields between reads, and begins after the event's own transaction.
    await Promise.resolve();
    while (!signal.aborted) {
      let event: ServiceEvent | undefined;
      try {
        event = events.nextOwed(sink.name, camera);
        if (!event) return;
        await sink.deliver(event, signal);
        events.delivered(sink.name, event.sequence);
        backoff.reset();
        onDelivered?.(sink.name, event);
      } catch (error) {
        if (signal.aborted) return;
        onFailure(sink.name, event, error);
        await backoff.wait(signal);
      }
    }
  }
}
