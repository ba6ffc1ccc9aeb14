import { join } from 'node:path';
import Database from 'better-sqlite3';
import { FaissVisionError } from '../error.js';

export type Db = Database.Database;

/** Milliseconds that a call waits, and everything else with it, for another program that writes. */
const PATIENCE = 5000;

/** Each brings a database from the version that is its place in this list to the next. */
const MIGRATIONS = [
  `
  CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    camera TEXT NOT NULL,
    time INTEGER NOT NULL,
    person TEXT,
    body TEXT NOT NULL,
    snapshot BLOB,
    track TEXT GENERATED ALWAYS AS (json_extract(body, '$.track')) VIRTUAL
  );
  CREATE INDEX events_track ON events (track) WHERE track IS NOT NULL;
  CREATE INDEX events_camera ON events (camera, sequence);
  CREATE INDEX events_time ON events (time);
  -- What is still to be delivered, and to whom; a row goes away once it is.
  CREATE TABLE outbox (
    sink TEXT NOT NULL,
    sequence INTEGER NOT NULL REFERENCES events (sequence) ON DELETE CASCADE,
    PRIMARY KEY (sink, sequence)
  ) WITHOUT ROWID;
  CREATE INDEX outbox_sequence ON outbox (sequence);
  -- One row for each action of each rule for each event: that key is what keeps an action from running twice.
  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    rule TEXT NOT NULL,
    action INTEGER NOT NULL,
    kind TEXT NOT NULL,
    camera TEXT NOT NULL,
    person TEXT,
    state TEXT NOT NULL,
    detail TEXT,
    created INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    UNIQUE (event, rule, action)
  );
  CREATE INDEX audit_rule ON audit (rule, created);
  CREATE INDEX audit_state ON audit (state);
  CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    hash BLOB NOT NULL,
    scopes TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER
  );
  CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  `,
  // Else whoever asks for a kind or a person that is rare has everything else wait while all events are looked through.
  `
  CREATE INDEX events_type ON events (type, sequence);
  CREATE INDEX events_person ON events (person, sequence) WHERE person IS NOT NULL;
  `,
];

/** The database of a data folder. */
export function databaseFile(folder: string): string {
  return join(folder, 'service.db');
}

/**
 * Opens the service's database and brings it up to date. What was committed survives a killed process and a power cut.
 * @throws ERR_DATABASE_VERSION for one that a newer version wrote, ERR_DATABASE for one that cannot be opened
 */
export function openDatabase(file: string): Db {
  let db: Db | undefined;
  try {
    db = new Database(file, { timeout: PATIENCE });
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.pragma('foreign_keys = ON');
    db.pragma('secure_delete = ON');
    migrate(db);
    return db;
  } catch (error) {
    db?.close();
    if (error instanceof FaissVisionError) throw error;
    throw new FaissVisionError('ERR_DATABASE', `the database "${file}" cannot be opened: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Writes without waiting for the disk, which would hold up everything else: such a write survives a killed process, and is on the disk with
 * the next one that waits. For what a power cut may take back, because it is only done or told again.
 */
export function writeLightly(db: Db, write: () => void): void {
  db.pragma('synchronous = NORMAL');
  try {
    write();
  } finally {
    db.pragma('synchronous = FULL');
  }
}

/** Runs some work that fails at once where another program writes: for whoever tries again soon. */
export function impatiently<T>(db: Db, work: () => T): T {
  db.pragma('busy_timeout = 0');
  try {
    return work();
  } finally {
    db.pragma(`busy_timeout = ${PATIENCE}`);
  }
}

/** Writes a little. @throws what SQLite says where it takes nothing */
export function tryWriting(db: Db): void {
  const write = db.prepare("INSERT OR REPLACE INTO settings (name, value) VALUES ('tried', ?)");
  impatiently(db, () => writeLightly(db, () => write.run(new Date().toISOString())));
}

/** Whether an error is the disk's or another program's, so that the same may go through later. */
export function mayPass(error: unknown): error is Error {
  return error instanceof Database.SqliteError && /^SQLITE_(FULL|BUSY|LOCKED|IOERR|READONLY|CANTOPEN|PERM|NOMEM|PROTOCOL)/.test(error.code);
}

function migrate(db: Db): void {
  const update = db.transaction(() => {
    const version = db.pragma('user_version', { simple: true }) as number;
    if (version > MIGRATIONS.length) {
      throw new FaissVisionError('ERR_DATABASE_VERSION', `the database is of version ${version}; this program knows ${MIGRATIONS.length}`);
    }
    for (const sql of MIGRATIONS.slice(version)) db.exec(sql);
    db.pragma(`user_version = ${MIGRATIONS.length}`);
  });
  update.immediate();
}
