import { randomUUID } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import type { RawImage } from 'faiss-vision';
import type { Logger } from 'pino';
import type { Outbox } from './delivery/outbox.js';
import { messageOf } from './error.js';
import type { Hub } from './hub.js';
import type { Metrics } from './metrics.js';
import { toJpeg } from './pipeline/picture.js';
import { kindOf, type Rules } from './rules/rules.js';
import { impatiently, mayPass, type Db } from './store/database.js';
import type { EventStore, NewEvent, ServiceEvent } from './store/events.js';

export interface RecorderOptions {
  db: Db;
  events: EventStore;
  outbox: Outbox;
  rules: Rules;
  hub: Hub;
  metrics: Metrics;
  log: Logger;
  /** Whether each event keeps its picture. */
  snapshots: boolean;
}

/** Faces that wait to be kept as pictures, at most; the oldest is let go first. */
const MOST_FACES = 64;
/** Events that wait for the database, at most; the oldest is given up first, so that the last word on each camera is kept. */
const MOST_WAITING = 10_000;
/** Milliseconds from one attempt to write them to the next. */
const RETRY = 1000;

type Told = NewEvent & { id: string; time: Date };

/**
 * Writes an event, with what is owed and what rules mean to do, in one transaction; only then does anybody hear of it. What the database
 * does not take waits, in its order, until it does.
 */
export class Recorder {
  readonly #options: RecorderOptions;
  /** The faces that are to be kept as pictures, until they are. */
  readonly #faces = new Map<string, RawImage>();
  readonly #waiting: Told[] = [];
  /** Why the first of them could not be written. */
  #refusal: Error | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RecorderOptions) {
    this.#options = options;
    options.metrics.asked('gauge', 'faiss_vision_events_waiting', 'Events that the database has not taken yet', [], (set) =>
      set({}, this.#waiting.length),
    );
  }

  /** Whether any event's picture is kept. */
  get keepsPictures(): boolean {
    return this.#options.snapshots || this.#options.rules.keepPictures;
  }

  /** How many events wait for the database and why, if any. */
  get waiting(): { count: number; reason: string } | undefined {
    return this.#waiting.length === 0 ? undefined : { count: this.#waiting.length, reason: messageOf(this.#refusal) };
  }

  tell(event: NewEvent, face?: RawImage): void {
    const told: Told = { ...event, id: randomUUID(), time: event.time ?? new Date() };
    if (face) this.#hold(told.id, face);
    if (this.#waiting.length === 0 && this.#write(told)) return;
    if (this.#waiting.push(told) > MOST_WAITING) this.#lose(this.#waiting.shift()!, this.#refusal);
    if (this.#waiting.length > 1) return;
    const { type, camera } = told;
    this.#options.log.error({ err: this.#refusal, type, camera }, 'an event could not be written; it waits, and what comes after it');
    this.#retryIn(RETRY);
  }

  /** Tries once more to write what waits; what is refused then is lost. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    while (this.#waiting.length > 0 && this.#write(this.#waiting[0]!)) {
      this.#waiting.shift();
      await turn();
    }
    for (const event of this.#waiting.splice(0)) this.#lose(event, this.#refusal);
  }

  async keepPhoto({ id }: Pick<ServiceEvent, 'id'>): Promise<void> {
    const { events } = this.#options;
    if (events.snapshot(id) !== undefined) return;
    const face = this.#faces.get(id);
    if (!face) throw new Error('the picture is gone');
    events.keepSnapshot(id, await toJpeg(face, 90));
    this.#faces.delete(id);
  }

  /** @returns whether it is done with: the database has it now, or never will */
  #write(event: Told, again = false): boolean {
    const { db, events, outbox, rules, hub, metrics, log, snapshots } = this.#options;
    let intents: ReturnType<Rules['intend']> = [];
    let kept: ServiceEvent;
    const add = () => events.add(event, outbox.owing(event), undefined, (whole) => (intents = rules.intend(whole)));
    try {
      kept = again ? impatiently(db, add) : add();
    } catch (error) {
      if (mayPass(error)) {
        this.#refusal = error;
        return false;
      }
      this.#lose(event, error);
      return true;
    }
    metrics.events.inc({ camera: kept.camera, type: kept.type });
    log.info(
      { event: kept.id, type: kept.type, camera: kept.camera, person: kept.person, rules: intents.map(({ rule }) => rule.name), reason: kept.reason },
      'event',
    );
    const photo = intents.some(({ rule, action }) => kindOf(rule.do[action]!) === 'photo');
    if (!snapshots && !photo) this.#faces.delete(kept.id);
    rules.run(intents);
    outbox.wake(kept.camera);
    hub.emit('event', kept);
    if (snapshots && this.#faces.has(kept.id)) {
      this.keepPhoto(kept).catch((error: unknown) => log.error({ err: error, event: kept.id }, 'no snapshot'));
    }
    return true;
  }

  #retryIn(ms: number): void {
    this.#timer = setTimeout(() => {
      const written = this.#write(this.#waiting[0]!, true);
      if (written) this.#waiting.shift();
      // One at a time, so that many hold nothing else up.
      if (this.#waiting.length > 0) this.#retryIn(written ? 0 : RETRY);
      else this.#options.log.info('the events that waited are written');
    }, ms).unref();
  }

  #lose(event: Told, error: unknown): void {
    const { metrics, log } = this.#options;
    this.#faces.delete(event.id);
    metrics.lost.inc({ camera: event.camera });
    log.error({ err: error, type: event.type, camera: event.camera, person: event.person, time: event.time }, 'an event is lost');
  }

  #hold(id: string, face: RawImage): void {
    this.#faces.set(id, face);
    if (this.#faces.size > MOST_FACES) this.#faces.delete(this.#faces.keys().next().value!);
  }
}
