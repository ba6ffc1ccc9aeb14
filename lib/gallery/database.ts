import { rmSync } from 'node:fs';
import { FaissVisionError } from '../error';
import { SEAL_BYTES, Sealer } from './encryption';
import { passes } from './checks';
import { holdsAny, indexEntryOf, pieceOf, pieceOfJpeg, rowOf } from './remnants';
import { type Connection, connect, type Statement, told } from './sqlite-driver';
import { prepare } from './sqlite-schema';
import type { Enrolled, Enrolment, EnrollOptions, Entry, ListOptions, NewFace, Page } from './store';
import type { GalleryFace, ListedPerson, Metadata, MetadataFilter, ModelMark, Person, StoredFace } from './types';

export interface DatabaseOptions {
  path: string;
  mark?: ModelMark | undefined;
  key?: Uint8Array | undefined;
  readOnly: boolean;
}

/** Faces as an index takes them: n labels, n x dimension numbers. */
export interface FacePage {
  labels: BigInt64Array;
  features: Float32Array;
}

/** A state of the database: everything up to this transaction, and this face. */
export interface Moment {
  changes: number;
  face: number;
}

/** What changed since the last one. */
export interface Delta {
  added: FacePage;
  removed: BigInt64Array;
  /** What an index has once it has taken this over. */
  moment: Moment;
}

/** A file of the index: its checksum, and how the index was made. */
export interface SnapshotAbout {
  checksum: string;
  description: string;
  nprobe?: number;
  recall?: number;
}

/** What the index is to be built from, and what a file of it must say to be used. */
export interface IndexSource {
  faces: number;
  moment: Moment;
  /** The file of the index that was written last, and the highest face number in it. */
  snapshot?: { about: SnapshotAbout; face: number };
  /** Labels that are in that file and were removed since. */
  removed: BigInt64Array;
}

interface PersonRow {
  number: number;
  id: string;
  name: string;
  metadata: string;
  created: number;
  updated: number;
  faces: number;
}

interface FaceRow {
  number: number;
  id: string;
  person: number;
  model: number;
  created: number;
  x: number | null;
  y: number | null;
  width: number | null;
  height: number | null;
  score: number | null;
  features: Buffer;
  jpeg: Buffer | null;
}

const PERSON = 'number, id, name, metadata, created, updated, (SELECT count(*) FROM faces WHERE person = people.number) AS faces';
const FACE = 'faces.number, faces.id, person, faces.model, faces.created, x, y, width, height, score, jpeg';
/** Most faces in one message between the threads. */
const PAGE = 4096;
/** Most new faces at once. No transaction of ours adds as many, so that an index is never between two moments. */
const DELTA = 65536;

/** An index's label of a face: the person's number above the face's, so that grouping by person needs no table. */
export const labelOf = (person: number, face: number): bigint => (BigInt(person) << 32n) | BigInt(face);
export const personOf = (label: bigint): number => Number(label >> 32n);
export const faceOf = (label: bigint): number => Number(label & 0xffffffffn);

/**
 * The SQLite file of a gallery: everything that is SQL. It blocks the thread that calls it, which is a worker's. Methods that change
 * something expect to be called within `write`.
 */
export class Database {
  readonly #path: string;
  readonly #db: Connection;
  readonly #sealer: Sealer | undefined;
  readonly #statements = new Map<string, Statement>();
  readonly mark: ModelMark;
  readonly #model: number;
  /** Pieces of what was removed and may still stand somewhere in the files. */
  #removed: Buffer[] = [];
  /** Whether the file is to be written anew, whatever stands in it. */
  #anew = false;
  #seenVersion = -1;
  #seenChanges = 0;
  #seenFace = 0;

  constructor({ path, mark, key, readOnly }: DatabaseOptions) {
    this.#path = path;
    this.#db = connect(path, { readonly: readOnly });
    try {
      this.#db.pragma('trusted_schema = OFF');
      this.#db.pragma('cell_size_check = ON');
      this.#db.pragma('foreign_keys = ON');
      this.#db.pragma('secure_delete = ON');
      this.#db.pragma('synchronous = FULL');
      this.#db.pragma('cache_size = -8000');
      prepare(this.#db, path);
      if (!readOnly && this.#db.pragma('journal_mode = WAL', { simple: true }) !== 'wal') {
        throw new FaissVisionError('ERR_GALLERY_OPEN', `${path}: its file system cannot share memory between processes, which a write-ahead log needs`);
      }
      this.#sealer = this.#checkKey(key, readOnly);
      [this.#model, this.mark] = this.#checkMark(mark, readOnly);
    } catch (error) {
      this.#db.close();
      throw told(error, path);
    }
  }

  get encrypted(): boolean {
    return this.#sealer !== undefined;
  }

  close(): void {
    this.erase();
    this.#db.close();
  }

  /** Runs some work in one transaction that starts by taking the right to write. */
  write<T>(work: () => T): T {
    try {
      const result = this.#db.transaction(() => {
        const current = this.#get('SELECT model FROM gallery') as { model: number };
        if (current.model !== this.#model) throw this.#changedModel();
        return work();
      }).immediate();
      this.erase();
      return result;
    } catch (error) {
      throw told(error, this.#path);
    }
  }

  /** Runs some work of a transaction; if it throws, nothing of it stays, and the transaction goes on. */
  part<T>(work: () => T): T {
    try {
      return this.#db.transaction(work)(); // within a transaction: a savepoint
    } catch (error) {
      throw told(error, this.#path);
    }
  }

  /** Several reads as of one moment. */
  read<T>(work: () => T): T {
    try {
      return this.#db.transaction(work).deferred();
    } catch (error) {
      throw told(error, this.#path);
    }
  }

  /**
   * Empties the write-ahead log into the file, so that what was removed is in neither. A reader elsewhere can delay it: then the next
   * call does it.
   */
  erase(): void {
    if (this.#removed.length === 0 && !this.#anew) return;
    try {
      if (!this.#emptyLog()) return;
      if (this.#anew || holdsAny(this.#path, this.#removed)) {
        this.#db.exec('VACUUM');
        if (!this.#emptyLog()) return;
      }
      [this.#removed, this.#anew] = [[], false];
    } catch {
      // What was removed is removed; there is no space to write the file anew, or another process writes.
    }
  }

  #emptyLog(): boolean {
    const [{ busy }] = this.#db.pragma('wal_checkpoint(TRUNCATE)') as [{ busy: number }];
    return busy === 0;
  }

  get inTransaction(): boolean {
    return this.#db.inTransaction;
  }

  enroll(enrolments: readonly Enrolment[], { sameName }: EnrollOptions): Enrolled[] {
    return enrolments.map((enrolment) => {
      let row = this.#person({ id: enrolment.id });
      if (row === undefined) {
        row = this.#person({ name: enrolment.name });
        if (row !== undefined && sameName === 'refuse') throw nameTaken(enrolment.name, row.id);
      }
      const created = row === undefined;
      row ??= this.#makePerson(enrolment);
      const { number } = row;
      let added = 0;
      for (const face of enrolment.faces) added += this.#addFace(number, row.id, face) ? 1 : 0;
      if (created || added > 0) this.#changed();
      return { person: personFrom(row), created, added };
    });
  }

  #makePerson({ id, name, metadata = {}, created = new Date(), updated = created }: Enrolment): PersonRow {
    this.#run('INSERT INTO people (id, name, metadata, created, updated) VALUES (?, ?, ?, ?, ?)', id, name, JSON.stringify(metadata), +created, +updated);
    return this.#person({ id })!;
  }

  #addFace(person: number, personId: string, face: NewFace): boolean {
    const { id, created, box, score, features, thumbnail } = face;
    const there = this.#get('SELECT person FROM faces WHERE id = ?', id) as { person: number } | undefined;
    if (there?.person === person) return false;
    if (there !== undefined) throw new FaissVisionError('ERR_ID_TAKEN', `the face id ${id} is another person's; ${personId} cannot have it`);
    const { lastInsertRowid: number } = this.#run(
      'INSERT INTO faces (id, person, model, created, x, y, width, height, score, features) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      ...[id, person, this.#model, +created, box?.x ?? null, box?.y ?? null, box?.width ?? null, box?.height ?? null, score ?? null],
      this.#packed(features, id),
    );
    if (Number(number) > 0xffffffff) throw new FaissVisionError('ERR_GALLERY_FULL', `${this.#path}: all 2^32 face numbers are used`);
    if (thumbnail !== undefined) this.#run('INSERT INTO thumbnails VALUES (?, ?)', number, this.#sealer?.seal(thumbnail, `thumbnail ${id}`) ?? thumbnail);
    return true;
  }

  person(key: { id: string } | { name: string }): ListedPerson | undefined {
    const row = this.#person(key);
    return row && listed(row);
  }

  list({ cursor, limit, filter }: ListOptions): Page<ListedPerson> {
    const items: ListedPerson[] = [];
    for (const row of this.#each(`SELECT ${PERSON} FROM people WHERE name > ? ORDER BY name`, cursor ?? '') as Iterable<PersonRow>) {
      const person = listed(row);
      if (filter !== undefined && !passes(filter, person.metadata)) continue;
      if (items.length === limit) return { items, next: items.at(-1)!.name };
      items.push(person);
    }
    return { items };
  }

  faces(person: string): GalleryFace[] {
    const rows = this.#all(
      `SELECT ${FACE} FROM faces JOIN people ON people.number = person LEFT JOIN thumbnails ON face = faces.number WHERE people.id = ? ORDER BY faces.number`,
      person,
    ) as FaceRow[];
    return rows.map((row) => this.#faceFrom(row, person));
  }

  update(id: string, { name, metadata }: { name?: string; metadata?: Metadata }): Person {
    const row = this.#person({ id });
    if (row === undefined) throw new FaissVisionError('ERR_PERSON_UNKNOWN', `nobody has the id ${id}`);
    const other = name === undefined ? undefined : this.#person({ name });
    if (other !== undefined && other.id !== id) throw nameTaken(name!, other.id);
    const text = metadata === undefined ? row.metadata : JSON.stringify(metadata);
    this.#run('UPDATE people SET name = ?, metadata = ?, updated = ? WHERE number = ?', name ?? row.name, text, Date.now(), row.number);
    this.#changed();
    this.#removed.push(rowOf(id, row.name, row.metadata)); // the former name is personal too
    if (name !== undefined && name !== row.name) this.#removed.push(indexEntryOf(row.name, row.number));
    return personFrom(this.#person({ id })!);
  }

  removePerson(id: string): number | undefined {
    const row = this.#person({ id });
    if (row === undefined) return undefined;
    this.#noteRemoval('person = ?', row.number);
    this.#removed.push(rowOf(id, row.name, row.metadata), indexEntryOf(row.name, row.number));
    this.#run('DELETE FROM people WHERE number = ?', row.number); // and what refers to it
    return row.faces;
  }

  removeFace(id: string): boolean {
    const row = this.#get('SELECT number FROM faces WHERE id = ?', id) as { number: number } | undefined;
    if (row === undefined) return false;
    this.#noteRemoval('number = ?', row.number);
    this.#run('DELETE FROM faces WHERE number = ?', row.number);
    return true;
  }

  /** Notes which faces go, and takes away the index's file first: a kill in between must not leave their features in it. */
  #noteRemoval(which: string, number: number): void {
    this.#changed();
    const rows = this.#all(`SELECT features, jpeg FROM faces LEFT JOIN thumbnails ON face = number WHERE ${which}`, number) as FaceRow[];
    for (const { features, jpeg } of rows) this.#removed.push(pieceOf(features), ...(jpeg === null ? [] : pieceOfJpeg(jpeg)));
    rmSync(`${this.#path}.index`, { force: true });
    this.#run(`INSERT INTO removals SELECT number, person, (SELECT changes FROM gallery) FROM faces WHERE ${which}`, number);
  }

  /** The labels of the faces of those whose metadata pass, or of those people. */
  labels(filter: MetadataFilter | undefined, people: readonly string[] | undefined): BigInt64Array {
    const labels: bigint[] = [];
    const add = (person: number) => {
      for (const face of this.#pluck('SELECT number FROM faces WHERE person = ?').iterate(person) as Iterable<number>) labels.push(labelOf(person, face));
    };
    const passing = ({ metadata }: PersonRow) => filter === undefined || passes(filter, JSON.parse(metadata) as Metadata);
    if (people === undefined) {
      const all = this.#all('SELECT number, metadata FROM people') as PersonRow[];
      all.filter(passing).forEach(({ number }) => add(number));
    } else {
      for (const id of new Set(people)) {
        const row = this.#person({ id });
        if (row !== undefined && passing(row)) add(row.number);
      }
    }
    return BigInt64Array.from(labels);
  }

  /** Some people behind a name, whole, as many as make a message of some megabytes. */
  entries(after: string): Entry[] {
    const entries: Entry[] = [];
    let faces = 0;
    for (const person of this.#all(`SELECT ${PERSON} FROM people WHERE name > ? ORDER BY name LIMIT 256`, after) as PersonRow[]) {
      const rows = this.#all(
        `SELECT ${FACE}, features FROM faces LEFT JOIN thumbnails ON face = number WHERE person = ? ORDER BY number`,
        person.number,
      ) as FaceRow[];
      entries.push({
        person: personFrom(person),
        faces: rows.map((row): StoredFace => ({ ...this.#faceFrom(row, person.id), features: this.#features(row) })),
      });
      faces += rows.length;
      if (faces >= PAGE) break;
    }
    return entries;
  }

  unstaged(mark: ModelMark, limit: number, after?: string): GalleryFace[] {
    const from = after === undefined ? 0 : (this.#pluck('SELECT number FROM faces WHERE id = ?').get(after) as number | undefined) ?? 0;
    const rows = this.#all(
      `SELECT ${FACE}, people.id AS owner FROM faces JOIN people ON people.number = person LEFT JOIN thumbnails ON thumbnails.face = faces.number
       WHERE faces.number > ? AND NOT EXISTS (SELECT 1 FROM staged WHERE staged.face = faces.number AND staged.model = ?) ORDER BY faces.number LIMIT ?`,
      ...[from, this.#modelNumber(mark) ?? -1, limit],
    ) as (FaceRow & { owner: string })[];
    return rows.map((row) => this.#faceFrom(row, row.owner));
  }

  stage(mark: ModelMark, faces: readonly { id: string; features: Float32Array }[]): void {
    const model = this.#modelNumber(mark) ?? this.#makeModel(mark);
    // All are of one model, so one of them tells.
    const present = this.#pluck('SELECT model FROM staged LIMIT 1').get();
    if (present !== undefined && present !== model) this.#run('DELETE FROM staged');
    for (const { id, features } of faces) {
      const packed = this.#packed(features, id);
      this.#run('INSERT INTO staged SELECT number, ?, ? FROM faces WHERE id = ? ON CONFLICT DO UPDATE SET features = excluded.features', model, packed, id);
    }
  }

  adopt(mark: ModelMark): void {
    const model = this.#modelNumber(mark) ?? this.#makeModel(mark);
    const lacking = this.#pluck('SELECT count(*) FROM faces WHERE NOT EXISTS (SELECT 1 FROM staged WHERE face = number AND staged.model = ?)').get(model);
    if (lacking !== 0) throw new FaissVisionError('ERR_REEMBED_INCOMPLETE', `${this.#path}: ${String(lacking)} faces have no features of ${nameOf(mark)} yet`);
    rmSync(`${this.#path}.index`, { force: true });
    this.#run('UPDATE faces SET model = ?, features = (SELECT features FROM staged WHERE face = number)', model);
    this.#run('DELETE FROM staged');
    this.#run('UPDATE gallery SET model = ?, snapshot = NULL', model);
    this.#changed();
    this.#anew = true; // without the former features
  }

  counts(): { people: number; faces: number } {
    return this.#get('SELECT (SELECT count(*) FROM people) AS people, (SELECT count(*) FROM faces) AS faces') as { people: number; faces: number };
  }

  /** From here on `delta` tells what is new. */
  source(): IndexSource {
    return this.read(() => {
      const about = this.#get('SELECT changes, snapshot, snapshot_changes, snapshot_face FROM gallery') as Record<string, number | string | null>;
      this.#seenChanges = about.changes as number;
      this.#seenFace = this.#lastFace();
      const { snapshot } = about;
      return {
        ...{ faces: this.counts().faces, moment: this.#moment() },
        ...(snapshot === null ? {} : { snapshot: { about: JSON.parse(snapshot as string) as SnapshotAbout, face: about.snapshot_face as number } }),
        removed: snapshot === null ? new BigInt64Array() : this.#removedSince(about.snapshot_changes as number, about.snapshot_face as number),
      };
    });
  }

  /** Faces by number, behind `after` and up to `last`. */
  page(after: number, last: number, limit = PAGE): FacePage & { next: number } {
    const { dimension } = this.mark;
    const rows = this.#all('SELECT number, id, person, model, features FROM faces WHERE number > ? AND number <= ? ORDER BY number LIMIT ?', after, last, limit) as FaceRow[];
    const features = new Float32Array(rows.length * dimension);
    const labels = new BigInt64Array(rows.length);
    rows.forEach((row, i) => {
      labels[i] = labelOf(row.person, row.number);
      features.set(this.#features(row), i * dimension);
    });
    return { labels, features, next: rows.at(-1)?.number ?? last };
  }

  get erasing(): boolean {
    return this.#removed.length > 0 || this.#anew;
  }

  /** Whether any connection has written since this was asked last; cheap. */
  maybeChanged(): boolean {
    const version = this.#db.pragma('data_version', { simple: true }) as number;
    const changed = version !== this.#seenVersion;
    this.#seenVersion = version;
    return changed;
  }

  /** What is new since `source`, or since the delta before. It comes in parts where it is much; undefined once there is nothing. */
  delta(): Delta | undefined {
    return this.read(() => {
      const { changes, model } = this.#get('SELECT changes, model FROM gallery') as { changes: number; model: number };
      if (model !== this.#model) throw this.#changedModel();
      if (changes === this.#seenChanges) return undefined;
      const before = this.#seenFace;
      const { next, ...added } = this.page(before, Number.MAX_SAFE_INTEGER, DELTA);
      if (added.labels.length > 0) this.#seenFace = next;
      const last = added.labels.length < DELTA;
      const removed = last ? this.#removedSince(this.#seenChanges, before) : new BigInt64Array();
      if (last) this.#seenChanges = changes;
      return { added, removed, moment: this.#moment() };
    });
  }

  #moment(): Moment {
    return { changes: this.#seenChanges, face: this.#seenFace };
  }

  #removedSince(change: number, last: number): BigInt64Array {
    const rows = this.#all('SELECT face, person FROM removals WHERE change > ? AND face <= ?', change, last) as { face: number; person: number }[];
    return BigInt64Array.from(rows, ({ face, person }) => labelOf(person, face));
  }

  /** Notes which file has the index as of a moment; false where faces were removed since, which are in it. */
  noteSnapshot(about: SnapshotAbout, { face, changes }: Moment): boolean {
    if (this.#pluck('SELECT count(*) FROM removals WHERE change > ?').get(changes) !== 0) return false;
    this.#run('UPDATE gallery SET snapshot = ?, snapshot_face = ?, snapshot_changes = ?', JSON.stringify(about), face, changes);
    return true;
  }

  #lastFace(): number {
    return (this.#pluck('SELECT max(number) FROM faces').get() as number | null) ?? 0;
  }

  #person(key: { id: string } | { name: string }): PersonRow | undefined {
    const [column, value] = 'id' in key ? ['id', key.id] : ['name', key.name];
    return this.#get(`SELECT ${PERSON} FROM people WHERE ${column} = ?`, value) as PersonRow | undefined;
  }

  #faceFrom(row: FaceRow, person: string): GalleryFace {
    const { id, x, y, width, height, score, jpeg } = row;
    return {
      ...{ id, person, created: new Date(row.created) },
      ...(x !== null && y !== null && width !== null && height !== null ? { box: { x, y, width, height } } : {}),
      ...(score === null ? {} : { score }),
      ...(jpeg === null ? {} : { thumbnail: this.#sealer?.open(jpeg, `thumbnail ${id}`) ?? jpeg }),
    };
  }

  #packed(features: Float32Array, id: string): Uint8Array {
    const bytes = new Uint8Array(features.buffer, features.byteOffset, features.byteLength);
    return this.#sealer?.seal(bytes, `face ${id}`) ?? bytes;
  }

  /** A row's features, checked: whoever may write the file may have written anything. */
  #features(row: FaceRow): Float32Array {
    const { dimension } = this.mark;
    const wrong = (what: string) => new FaissVisionError('ERR_GALLERY_CORRUPT', `${this.#path}: the face ${row.id} has ${what}; remove it with removeFace`);
    const bytes = dimension * 4;
    const expected = bytes + (this.encrypted ? SEAL_BYTES : 0);
    if (row.model !== this.#model) throw wrong('features of another model');
    if (row.features.length !== expected) throw wrong(`features of ${row.features.length} bytes instead of ${expected}`);
    const plain = this.#sealer?.open(row.features, `face ${row.id}`) ?? row.features;
    const numbers = new Float32Array(dimension);
    new Uint8Array(numbers.buffer).set(plain);
    let sum = 0;
    for (let i = 0; i < dimension; i++) sum += numbers[i]! * 0; // NaN as soon as one number is not finite
    if (sum !== 0) throw wrong('features that are not finite numbers');
    return numbers;
  }

  #changed(): void {
    this.#run('UPDATE gallery SET changes = changes + 1');
  }

  #changedModel(): FaissVisionError {
    return new FaissVisionError('ERR_MODEL_MISMATCH', `${this.#path}: its faces were embedded anew by another model than ${nameOf(this.mark)}; open it with that one`);
  }

  #modelNumber({ model, version, dimension, metric }: ModelMark): number | undefined {
    return this.#pluck('SELECT number FROM models WHERE model = ? AND version = ? AND dimension = ? AND metric = ?').get(model, version, dimension, metric) as number | undefined;
  }

  #makeModel({ model, version, dimension, metric }: ModelMark): number {
    const { lastInsertRowid } = this.#run('INSERT INTO models (model, version, dimension, metric) VALUES (?, ?, ?, ?)', model, version, dimension, metric);
    return Number(lastInsertRowid);
  }

  #checkMark(mark: ModelMark | undefined, readOnly: boolean): [number, ModelMark] {
    const stored = () => this.#get('SELECT models.* FROM gallery JOIN models ON models.number = gallery.model') as (ModelMark & { number: number }) | undefined;
    let found = stored();
    if (found === undefined && mark !== undefined && !readOnly) {
      this.#db.transaction(() => {
        if (stored() === undefined) this.#run('UPDATE gallery SET model = ?', this.#modelNumber(mark) ?? this.#makeModel(mark));
      }).immediate();
      found = stored();
    }
    if (found === undefined) throw new FaissVisionError('ERR_GALLERY_NOT_FOUND', `${this.#path}: nobody was ever enrolled here; open it with a recogniser`);
    const { number, ...its } = found;
    if (mark !== undefined && (its.model !== mark.model || its.version !== mark.version || its.dimension !== mark.dimension || its.metric !== mark.metric)) {
      throw new FaissVisionError(
        'ERR_MODEL_MISMATCH',
        `${this.#path}: its features are ${nameOf(its)}, the recogniser's ${nameOf(mark)}: they cannot be compared. Gallery.reembed changes the model`,
      );
    }
    return [number, its];
  }

  #checkKey(key: Uint8Array | undefined, readOnly: boolean): Sealer | undefined {
    const about = () => this.#get('SELECT id, model, key_check FROM gallery') as { id: string; model: number | null; key_check: Buffer | null };
    const wrong = (what: string) => new FaissVisionError('ERR_GALLERY_KEY', `${this.#path}: ${what}`);
    const sealer = key && new Sealer(key);
    if (sealer !== undefined && !readOnly) {
      this.#db.transaction(() => {
        const { id, model, key_check } = about();
        // Once it has a model it has been used without a key.
        if (model === null && key_check === null) this.#run('UPDATE gallery SET key_check = ?', sealer.seal(Buffer.from(id), 'key'));
      }).immediate();
    }
    const { key_check } = about();
    if (sealer === undefined && key_check !== null) throw wrong('this gallery is encrypted; give its encryptionKey');
    if (sealer !== undefined && key_check === null) throw wrong('this gallery is not encrypted; export it and import it into a new one with an encryptionKey');
    try {
      if (sealer !== undefined) sealer.open(key_check!, 'key');
    } catch (error) {
      throw new FaissVisionError('ERR_GALLERY_KEY', `${this.#path}: it was encrypted with another key`, { cause: error });
    }
    return sealer;
  }

  #statement(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, (statement = this.#db.prepare(sql)));
    return statement;
  }

  #pluck(sql: string): Statement {
    const pluck = `${sql} `; // not the same statement where both are wanted
    const known = this.#statements.get(pluck);
    if (known !== undefined) return known;
    const made = this.#db.prepare<unknown[]>(sql).pluck();
    this.#statements.set(pluck, made);
    return made;
  }

  #get(sql: string, ...values: unknown[]): unknown {
    return this.#statement(sql).get(...values);
  }

  #all(sql: string, ...values: unknown[]): unknown[] {
    return this.#statement(sql).all(...values);
  }

  #each(sql: string, ...values: unknown[]): Iterable<unknown> {
    return this.#statement(sql).iterate(...values);
  }

  #run(sql: string, ...values: unknown[]) {
    return this.#statement(sql).run(...values);
  }
}

export const nameOf = ({ model, version, dimension, metric }: ModelMark): string => `${model} (${version}, ${dimension} numbers, ${metric})`;

function nameTaken(name: string, id: string): FaissVisionError {
  return new FaissVisionError('ERR_NAME_TAKEN', `${JSON.stringify(name)} is the name of somebody else, whose id is ${id}`);
}

function personFrom({ id, name, metadata, created, updated }: PersonRow): Person {
  return { id, name, metadata: JSON.parse(metadata) as Metadata, created: new Date(created), updated: new Date(updated) };
}

const listed = (row: PersonRow): ListedPerson => ({ ...personFrom(row), faces: row.faces });
