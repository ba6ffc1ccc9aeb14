import { randomUUID } from 'node:crypto';
import { FaissVisionError } from '../error';
import type { Connection } from './sqlite-driver';

/** "FVgl" in the file's header: whose file this is (sqlite.org/fileformat2.html, 1.3.18). */
const APPLICATION_ID = 0x4656676c;

// Numbers are never used twice (AUTOINCREMENT): what an index was built from is told by the highest one, and by what was removed since.
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE models (
    number INTEGER PRIMARY KEY,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    metric TEXT NOT NULL CHECK (metric IN ('l2', 'cosine')),
    UNIQUE (model, version, dimension, metric)
  ) STRICT;

  CREATE TABLE gallery (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    changes INTEGER NOT NULL,            -- one more with every transaction that changes something
    model INTEGER REFERENCES models,     -- of all features
    key_check BLOB,                      -- sealed with the key, where features are
    snapshot TEXT,                       -- the index's file that was written last: its checksum and how it was made (JSON),
    snapshot_changes INTEGER,            -- and of what
    snapshot_face INTEGER
  ) STRICT;

  CREATE TABLE people (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    metadata TEXT NOT NULL,
    created INTEGER NOT NULL,            -- milliseconds since 1970
    updated INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE faces (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    person INTEGER NOT NULL REFERENCES people ON DELETE CASCADE,
    model INTEGER NOT NULL REFERENCES models,
    created INTEGER NOT NULL,
    x REAL, y REAL, width REAL, height REAL, score REAL,
    features BLOB NOT NULL               -- 32-bit floats, little endian; sealed where the gallery has a key
  ) STRICT;
  CREATE INDEX faces_of_person ON faces (person);

  CREATE TABLE thumbnails (
    face INTEGER PRIMARY KEY REFERENCES faces ON DELETE CASCADE,
    jpeg BLOB NOT NULL
  ) STRICT;

  CREATE TABLE staged (                  -- features of the next model
    face INTEGER PRIMARY KEY REFERENCES faces ON DELETE CASCADE,
    model INTEGER NOT NULL REFERENCES models,
    features BLOB NOT NULL
  ) STRICT;

  CREATE TABLE removals (                -- for indexes that still have the face
    face INTEGER PRIMARY KEY,
    person INTEGER NOT NULL,
    change INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX removals_since ON removals (change);
  `,
];

/**
 * Makes the tables of a new file, brings an older one up to date, and refuses what is not a gallery.
 * @throws ERR_GALLERY_FOREIGN, ERR_GALLERY_VERSION
 */
export function prepare(db: Connection, path: string): void {
  if (readVersion(db, path) === MIGRATIONS.length) return;
  if (db.readonly) throw new FaissVisionError('ERR_GALLERY_READONLY', `${path}: it has to be brought up to date, and is opened for reading only`);
  // Another process may do the same at this moment: look again once nobody else writes.
  db.transaction(() => {
    for (let version = readVersion(db, path); version < MIGRATIONS.length; version++) db.exec(MIGRATIONS[version]!);
    db.pragma(`application_id = ${APPLICATION_ID}`);
    db.pragma(`user_version = ${MIGRATIONS.length}`);
    db.prepare('INSERT INTO gallery (one, id, changes) VALUES (1, ?, 0) ON CONFLICT DO NOTHING').run(randomUUID());
  }).immediate();
}

/** How far the file is; 0 for one without anything in it. */
function readVersion(db: Connection, path: string): number {
  const application = db.pragma('application_id', { simple: true }) as number;
  const version = db.pragma('user_version', { simple: true }) as number;
  const empty = db.prepare('SELECT count(*) FROM sqlite_schema').pluck().get() === 0;
  if (application === 0 && version === 0 && empty) return 0;
  if (application !== APPLICATION_ID) {
    const whose = application === 0 ? 'no application id' : `the application id 0x${(application >>> 0).toString(16)}`;
    throw new FaissVisionError('ERR_GALLERY_FOREIGN', `${path}: this SQLite file is another program's: it has ${whose} and is no gallery`);
  }
  if (version > MIGRATIONS.length) {
    throw new FaissVisionError(
      'ERR_GALLERY_VERSION',
      `${path}: a newer faiss-vision wrote this gallery (version ${version}; this one knows up to ${MIGRATIONS.length})`,
    );
  }
  return version;
}
