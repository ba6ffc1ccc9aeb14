import type { RawImage } from 'faiss-vision';
import type { Logger } from 'pino';
import type { Outbox } from './delivery/outbox.js';
import type { Hub } from './hub.js';
import type { Metrics } from './metrics.js';
import { toJpeg } from './pipeline/picture.js';
import { kindOf, type Rules } from './rules/rules.js';
import type { EventStore, NewEvent, ServiceEvent } from './store/events.js';

export interface RecorderOptions {
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

/** Writes an event, with what is owed and what rules mean to do, in one transaction; only then does anybody hear of it. */
export class Recorder {
  readonly #options: RecorderOptions;
  /** The faces that are to be kept as pictures, until they are. */
  readonly #faces = new Map<string, RawImage>();

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  /** Whether any event's picture is kept. */
  get keepsPictures(): boolean {
    return this.#options.snapshots || this.#options.rules.keepPictures;
  }

  tell(event: NewEvent, face?: RawImage): void {
    const { events, outbox, rules, hub, metrics, log, snapshots } = this.#options;
    let intents: ReturnType<Rules['intend']> = [];
    let kept: ServiceEvent;
    try {
      kept = events.add(event, outbox.owing(event), undefined, (whole) => (intents = rules.intend(whole)));
    } catch (error) {
      // As where the disk is full: nobody hears of it, and no rule acts.
      log.error({ err: error, type: event.type, camera: event.camera }, 'an event could not be written');
      return;
    }
    metrics.events.inc({ camera: kept.camera, type: kept.type });
    log.info(
      { event: kept.id, type: kept.type, camera: kept.camera, person: kept.person, rules: intents.map(({ rule }) => rule.name), reason: kept.reason },
      'event',
    );
    const photo = intents.some(({ rule, action }) => kindOf(rule.do[action]!) === 'photo');
    if (face && (snapshots || photo)) this.#hold(kept.id, face);
    rules.run(intents);
    outbox.wake(kept.camera);
    hub.emit('event', kept);
    if (face && snapshots) this.keepPhoto(kept).catch((error: unknown) => log.error({ err: error, event: kept.id }, 'no snapshot'));
  }

  async keepPhoto({ id }: Pick<ServiceEvent, 'id'>): Promise<void> {
    const { events } = this.#options;
    if (events.snapshot(id) !== undefined) return;
    const face = this.#faces.get(id);
    if (!face) throw new Error('the picture is gone');
    events.keepSnapshot(id, await toJpeg(face, 90));
    this.#faces.delete(id);
  }

  #hold(id: string, face: RawImage): void {
    this.#faces.set(id, face);
    if (this.#faces.size > MOST_FACES) this.#faces.delete(this.#faces.keys().next().value!);
  }
}
