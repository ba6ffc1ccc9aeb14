import { writeLightly, type Db } from './database.js';
import type { ServiceEvent } from './events.js';

/**
 * pending: decided, not begun. started: begun. done, failed: ended, and how. unknown: the service ended between begin and
 * end; it is not done again. expired: its time was over before it could begin.
 */
export type AuditState = 'pending' | 'started' | 'done' | 'failed' | 'unknown' | 'expired';

export interface AuditEntry {
  id: number;
  /** The event's id. */
  event: string;
  sequence: number;
  rule: string;
  /** Place of the action in the rule, from 0. */
  action: number;
  kind: string;
  camera: string;
  /** The person's id. */
  person: string | null;
  state: AuditState;
  detail: string | null;
  created: string;
  changed: string;
}

type Row = Omit<AuditEntry, 'created' | 'changed'> & { created: number; changed: number };

/** What rules did, and the key that keeps an action from running twice for one event. */
export class Audit {
  readonly #db: Db;
  readonly #insert;
  readonly #begin;
  readonly #end;

  constructor(db: Db) {
    this.#db = db;
    this.#insert = db.prepare(
      `INSERT INTO audit (event, sequence, rule, action, kind, camera, person, state, created, changed)
       VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?)`,
    );
    this.#begin = db.prepare("UPDATE audit SET state = 'started', changed = ? WHERE id = ? AND state = 'pending'");
    this.#end = db.prepare('UPDATE audit SET state = ?, detail = ?, changed = ? WHERE id = ?');
  }

  /** @returns the entry's id */
  intend(event: ServiceEvent, rule: string, action: number, kind: string): number {
    // As of the event: one that was written late takes nothing from a limit of now.
    const created = Date.parse(event.time);
    const { lastInsertRowid } = this.#insert.run(
      event.id,
      event.sequence,
      rule,
      action,
      kind,
      event.camera,
      event.person?.id ?? null,
      created,
      Date.now(),
    );
    return Number(lastInsertRowid);
  }

  /** Whether the action may run now: it was pending, and from here on it is begun. */
  begin(id: number): boolean {
    return this.#begin.run(Date.now(), id).changes === 1;
  }

  end(id: number, state: Exclude<AuditState, 'pending' | 'started'>, detail?: string): void {
    writeLightly(this.#db, () => this.#end.run(state, detail ?? null, Date.now(), id));
  }

  /** How often a rule has decided to act since then, each event once. */
  count(rule: string, since: Date): number {
    const sql = 'SELECT count(DISTINCT event) AS count FROM audit WHERE rule = ? AND created > ?';
    return (this.#db.prepare(sql).get(rule, since.getTime()) as { count: number }).count;
  }

  /** After a start: what was begun and never ended is unknown. @returns what is still pending */
  recover(): AuditEntry[] {
    const sql = "UPDATE audit SET state = 'unknown', detail = 'the service ended meanwhile', changed = ? WHERE state = 'started'";
    this.#db.prepare(sql).run(Date.now());
    return (this.#db.prepare("SELECT * FROM audit WHERE state = 'pending' ORDER BY id").all() as Row[]).map(entryOf);
  }

  list({ before, rule, limit }: { before?: number | undefined; rule?: string | undefined; limit: number }): AuditEntry[] {
    const sql = 'SELECT * FROM audit WHERE id < ? AND (? IS NULL OR rule = ?) ORDER BY id DESC LIMIT ?';
    const rows = this.#db.prepare(sql).all(before ?? Number.MAX_SAFE_INTEGER, rule ?? null, rule ?? null, limit) as Row[];
    return rows.map(entryOf);
  }
}

function entryOf(row: Row): AuditEntry {
  return { ...row, created: new Date(row.created).toISOString(), changed: new Date(row.changed).toISOString() };
}
