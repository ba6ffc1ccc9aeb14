import { randomUUID } from 'node:crypto';
import type { EventType } from '../config/schema.js';
import { writeLightly, type Db } from './database.js';

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** What happened, as the pipeline tells it. */
export interface NewEvent {
  /** Made where there is none. */
  id?: string;
  type: EventType;
  camera: string;
  time?: Date;
  /** One appearance of one face; the events of it have the same. */
  track?: string;
  person?: { id: string; name: string };
  /** Distance to the person's nearest face. */
  distance?: number;
  /** The detector's. */
  score?: number;
  /** In pixels of the frame. */
  box?: Box;
  frame?: { width: number; height: number };
  /** Share of the picture that is near. */
  coverage?: number;
  reason?: string;
}

/** An event as it is kept and delivered. */
export interface ServiceEvent extends Omit<NewEvent, 'id' | 'time'> {
  /** Tells a repeat: the same event always has the same id. */
  id: string;
  /** Grows from event to event. */
  sequence: number;
  /** ISO 8601, UTC. */
  time: string;
  /** Whether a picture was kept. */
  snapshot: boolean;
}

export interface EventQuery {
  after?: number;
  before?: number;
  camera?: string;
  type?: EventType;
  /** A person's id. */
  person?: string;
  limit: number;
  newestFirst?: boolean;
}

interface Row {
  sequence: number;
  body: string;
  snapshot: 0 | 1;
}

const COLUMNS = 'sequence, body, snapshot IS NOT NULL AS snapshot';

/** The events and, with each, who is still to be told of it. */
export class EventStore {
  readonly #db: Db;
  readonly #insert;
  readonly #owe;
  readonly #delivered;
  readonly #next;
  readonly #snapshot;
  readonly #keepSnapshot;

  constructor(db: Db) {
    this.#db = db;
    this.#insert = db.prepare('INSERT INTO events (id, type, camera, time, person, body, snapshot) VALUES (?, ?, ?, ?, ?, ?, ?)');
    this.#owe = db.prepare('INSERT INTO outbox (sink, sequence) VALUES (?, ?)');
    this.#delivered = db.prepare('DELETE FROM outbox WHERE sink = ? AND sequence = ?');
    this.#snapshot = db.prepare('SELECT snapshot FROM events WHERE id = ?');
    this.#keepSnapshot = db.prepare('UPDATE events SET snapshot = ? WHERE id = ?');
    this.#next = db.prepare(
      `SELECT ${COLUMNS} FROM events WHERE sequence = (
         SELECT min(outbox.sequence) FROM outbox JOIN events USING (sequence) WHERE sink = ? AND camera = ?)`,
    );
  }

  /**
   * Keeps an event, what is owed to whom, and what `more` writes, all or nothing.
   * @param sinks who is to be told
   */
  add(event: NewEvent, sinks: readonly string[], snapshot?: Uint8Array, more?: (event: ServiceEvent) => void): ServiceEvent {
    const { time = new Date(), ...rest } = event;
    const kept = { id: randomUUID(), ...rest, time: time.toISOString() };
    const add = this.#db.transaction((): ServiceEvent => {
      const { lastInsertRowid } = this.#insert.run(
        kept.id,
        kept.type,
        kept.camera,
        time.getTime(),
        kept.person?.id ?? null,
        JSON.stringify(kept),
        snapshot ?? null,
      );
      const whole = { ...kept, sequence: Number(lastInsertRowid), snapshot: snapshot !== undefined };
      for (const sink of sinks) this.#owe.run(sink, whole.sequence);
      more?.(whole);
      return whole;
    });
    return add.immediate();
  }

  list({ after, before, camera, type, person, limit, newestFirst = false }: EventQuery): ServiceEvent[] {
    const conditions: [string, unknown][] = [];
    if (after !== undefined) conditions.push(['sequence > ?', after]);
    if (before !== undefined) conditions.push(['sequence < ?', before]);
    if (camera !== undefined) conditions.push(['camera = ?', camera]);
    if (type !== undefined) conditions.push(['type = ?', type]);
    if (person !== undefined) conditions.push(['person = ?', person]);
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.map(([sql]) => sql).join(' AND ')}`;
    const rows = this.#db
      .prepare(`SELECT ${COLUMNS} FROM events ${where} ORDER BY sequence ${newestFirst ? 'DESC' : 'ASC'} LIMIT ?`)
      .all(...conditions.map(([, value]) => value), limit) as Row[];
    return rows.map(eventOf);
  }

  find(id: string): ServiceEvent | undefined {
    const row = this.#db.prepare(`SELECT ${COLUMNS} FROM events WHERE id = ?`).get(id) as Row | undefined;
    return row && eventOf(row);
  }

  snapshot(id: string): Buffer | undefined {
    const row = this.#snapshot.get(id) as { snapshot: Buffer | null } | undefined;
    return row?.snapshot ?? undefined;
  }

  keepSnapshot(id: string, snapshot: Uint8Array): void {
    writeLightly(this.#db, () => this.#keepSnapshot.run(snapshot, id));
  }

  /** What nobody was told the end of, because the service ended first: tracks without `left`, alerts without `clear`. */
  unfinished(): NewEvent[] {
    const tracks = this.#db
      .prepare(
        `SELECT ${COLUMNS}, max(sequence) FROM events AS begun WHERE track IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM events AS ended WHERE ended.track = begun.track AND ended.type = 'left') GROUP BY track ORDER BY sequence`,
      )
      .all() as Row[];
    const left = tracks.map(eventOf).map(({ camera, track, person, distance }): NewEvent => {
      return { type: 'left', camera, track: track!, ...(person ? { person, distance: distance! } : {}), reason: 'the service was started again' };
    });
    const clear = this.#lastOf('near', 'clear').map((camera): NewEvent => ({
      type: 'clear',
      camera,
      coverage: 0,
      reason: 'the service was started again',
    }));
    return [...left, ...clear];
  }

  /** Cameras that are lost as far as anybody was told. */
  lostCameras(): string[] {
    return this.#lastOf('camera-lost', 'camera-back');
  }

  /** Cameras with an event of the first type and none of the second one after it. */
  #lastOf(begin: EventType, end: EventType): string[] {
    const sql = `SELECT camera, type, max(sequence) FROM events WHERE type IN (?, ?) GROUP BY camera`;
    const rows = this.#db.prepare(sql).all(begin, end) as { camera: string; type: EventType }[];
    return rows.filter(({ type }) => type === begin).map(({ camera }) => camera);
  }

  /** The sequence of the newest event; 0 before the first. */
  get last(): number {
    const row = this.#db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'events'").get() as { seq: number } | undefined;
    return row?.seq ?? 0;
  }

  /** Cameras that a sink is owed events of. */
  owedCameras(sink: string): string[] {
    const rows = this.#db.prepare('SELECT DISTINCT camera FROM outbox JOIN events USING (sequence) WHERE sink = ?').all(sink);
    return (rows as { camera: string }[]).map(({ camera }) => camera);
  }

  /** The oldest event of a camera that a sink is owed. */
  nextOwed(sink: string, camera: string): ServiceEvent | undefined {
    const row = this.#next.get(sink, camera) as Row | undefined;
    return row && eventOf(row);
  }

  delivered(sink: string, sequence: number): void {
    writeLightly(this.#db, () => this.#delivered.run(sink, sequence));
  }

  /** How many events each sink is owed. */
  owed(): Record<string, number> {
    const rows = this.#db.prepare('SELECT sink, count(*) AS count FROM outbox GROUP BY sink').all() as { sink: string; count: number }[];
    return Object.fromEntries(rows.map(({ sink, count }) => [sink, count]));
  }

  /** Forgets what is owed to sinks that the configuration no longer has. */
  forgetSinks(known: readonly string[]): void {
    for (const sink of Object.keys(this.owed())) if (!known.includes(sink)) this.#db.prepare('DELETE FROM outbox WHERE sink = ?').run(sink);
  }

  /** Removes events older than this, with what was owed of them, and the audit rows of that time. */
  prune(before: Date): number {
    const prune = this.#db.transaction(() => {
      this.#db.prepare('DELETE FROM audit WHERE created < ?').run(before.getTime());
      return this.#db.prepare('DELETE FROM events WHERE time < ?').run(before.getTime()).changes;
    });
    return prune.immediate();
  }
}

function eventOf({ sequence, body, snapshot }: Row): ServiceEvent {
  return { ...(JSON.parse(body) as Omit<ServiceEvent, 'sequence' | 'snapshot'>), sequence, snapshot: snapshot === 1 };
}
