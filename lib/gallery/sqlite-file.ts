import { FaissVisionError } from '../error';
import { type DatabaseOptions, nameOf, sameMark } from './database';
import { SEAL_BYTES, Sealer } from './encryption';
import { holdsAny } from './remnants';
import { type Connection, connect, type Statement, told } from './sqlite-driver';
import { prepare } from './sqlite-schema';
import type { GalleryFace, ModelMark } from './types';

/** A row of `faces`, with its thumbnail. */
export interface FaceRow {
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

/** What of a face is told; to be joined with `thumbnails`. */
export const FACE = 'faces.number, faces.id, person, faces.model, faces.created, x, y, width, height, score, jpeg';

/**
 * The SQLite file of a gallery: the connection, transactions, whose file it is, and how features stand in it. It blocks the thread that
 * calls it, which is a worker's.
 */
export class GalleryFile {
  readonly path: string;
  readonly mark: ModelMark;
  /** The mark's number in `models`. */
  readonly model: number;
  readonly sealer: Sealer | undefined;
  readonly #db: Connection;
  readonly #statements = new Map<string, Statement>();
  /** Pieces of what was removed and may still stand somewhere in the files. */
  #removed: Buffer[] = [];
  /** Whether the file is to be written anew, whatever stands in it. */
  #anew = false;

  constructor({ path, mark, key, readOnly }: DatabaseOptions) {
    this.path = path;
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
        throw new FaissVisionError(
          'ERR_GALLERY_OPEN',
          `${path}: its file system cannot share memory between processes, which a write-ahead log needs`,
        );
      }
      this.sealer = this.#checkKey(key, readOnly);
      [this.model, this.mark] = this.#checkMark(mark, readOnly);
    } catch (error) {
      this.#db.close();
      throw told(error, path);
    }
  }

  get encrypted(): boolean {
    return this.sealer !== undefined;
  }

  close(): void {
    this.erase();
    this.#db.close();
  }

  /** Runs some work in one transaction that starts by taking the right to write. */
  write<T>(work: () => T): T {
    try {
      const result = this.#db
        .transaction(() => {
          const current = this.get('SELECT model FROM gallery') as { model: number };
          if (current.model !== this.model) throw this.changedModel();
          return work();
        })
        .immediate();
      this.erase();
      return result;
    } catch (error) {
      throw told(error, this.path);
    }
  }

  /** Runs some work of a transaction; if it throws, nothing of it stays, and the transaction goes on. */
  part<T>(work: () => T): T {
    try {
      return this.#db.transaction(work)(); // within a transaction: a savepoint
    } catch (error) {
      throw told(error, this.path);
    }
  }

  /** Several reads as of one moment. */
  read<T>(work: () => T): T {
    try {
      return this.#db.transaction(work).deferred();
    } catch (error) {
      throw told(error, this.path);
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
      if (this.#anew || holdsAny(this.path, this.#removed)) {
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

  get erasing(): boolean {
    return this.#removed.length > 0 || this.#anew;
  }

  /** Another number as soon as any other connection has written; cheap to ask. */
  dataVersion(): number {
    return this.#db.pragma('data_version', { simple: true }) as number;
  }

  /** Has some pieces of what this transaction removes looked for once it has ended. */
  forget(...pieces: Buffer[]): void {
    this.#removed.push(...pieces);
  }

  /** Has the file written anew once this transaction has ended. */
  forgetMuch(): void {
    this.#anew = true;
  }

  packed(features: Float32Array, id: string): Uint8Array {
    const bytes = new Uint8Array(features.buffer, features.byteOffset, features.byteLength);
    return this.sealer?.seal(bytes, `face ${id}`) ?? bytes;
  }

  /** A row's features, checked: whoever may write the file may have written anything. */
  featuresOf(row: FaceRow, numbers: Float32Array = new Float32Array(this.mark.dimension)): Float32Array {
    const { dimension } = this.mark;
    const wrong = (what: string) =>
      new FaissVisionError('ERR_GALLERY_CORRUPT', `${this.path}: the face ${row.id} has ${what}; remove it with removeFace`);
    const bytes = dimension * 4;
    const expected = bytes + (this.encrypted ? SEAL_BYTES : 0);
    if (row.model !== this.model) throw wrong('features of another model');
    if (row.features.length !== expected) throw wrong(`features of ${row.features.length} bytes instead of ${expected}`);
    const plain = this.sealer?.open(row.features, `face ${row.id}`) ?? row.features;
    new Uint8Array(numbers.buffer, numbers.byteOffset, bytes).set(plain);
    let sum = 0;
    for (let i = 0; i < dimension; i++) sum += numbers[i]! * 0; // NaN as soon as one number is not finite
    if (sum !== 0) throw wrong('features that are not finite numbers');
    return numbers;
  }

  faceFrom(row: FaceRow, person: string): GalleryFace {
    const { id, x, y, width, height, score, jpeg } = row;
    return {
      ...{ id, person, created: new Date(row.created) },
      ...(x !== null && y !== null && width !== null && height !== null ? { box: { x, y, width, height } } : {}),
      ...(score === null ? {} : { score }),
      ...(jpeg === null ? {} : { thumbnail: this.sealer?.open(jpeg, `thumbnail ${id}`) ?? jpeg }),
    };
  }

  changed(): void {
    this.run('UPDATE gallery SET changes = changes + 1');
  }

  changedModel(): FaissVisionError {
    return new FaissVisionError(
      'ERR_MODEL_MISMATCH',
      `${this.path}: its faces were embedded anew by another model than ${nameOf(this.mark)}; open it with that one`,
    );
  }

  modelNumber({ model, version, dimension, metric }: ModelMark): number | undefined {
    const find = this.pluck('SELECT number FROM models WHERE model = ? AND version = ? AND dimension = ? AND metric = ?');
    return find.get(model, version, dimension, metric) as number | undefined;
  }

  makeModel({ model, version, dimension, metric }: ModelMark): number {
    const columns = [model, version, dimension, metric];
    const { lastInsertRowid } = this.run('INSERT INTO models (model, version, dimension, metric) VALUES (?, ?, ?, ?)', ...columns);
    return Number(lastInsertRowid);
  }

  #checkMark(mark: ModelMark | undefined, readOnly: boolean): [number, ModelMark] {
    const stored = () =>
      this.get('SELECT models.* FROM gallery JOIN models ON models.number = gallery.model') as (ModelMark & { number: number }) | undefined;
    let found = stored();
    if (found === undefined && mark !== undefined && !readOnly) {
      this.#db
        .transaction(() => {
          if (stored() === undefined) this.run('UPDATE gallery SET model = ?', this.modelNumber(mark) ?? this.makeModel(mark));
        })
        .immediate();
      found = stored();
    }
    if (found === undefined) {
      throw new FaissVisionError('ERR_GALLERY_NOT_FOUND', `${this.path}: nobody was ever enrolled here; open it with a recogniser`);
    }
    const { number, ...its } = found;
    if (mark !== undefined && !sameMark(its, mark)) {
      throw new FaissVisionError(
        'ERR_MODEL_MISMATCH',
        `${this.path}: its features are ${nameOf(its)}, the recogniser's ${nameOf(mark)}: they cannot be compared. Gallery.reembed changes the model`,
      );
    }
    return [number, its];
  }

  #checkKey(key: Uint8Array | undefined, readOnly: boolean): Sealer | undefined {
    const about = () => this.get('SELECT id, model, key_check FROM gallery') as { id: string; model: number | null; key_check: Buffer | null };
    const wrong = (what: string) => new FaissVisionError('ERR_GALLERY_KEY', `${this.path}: ${what}`);
    const sealer = key && new Sealer(key);
    if (sealer !== undefined && !readOnly) {
      this.#db
        .transaction(() => {
          const { id, model, key_check } = about();
          // Once it has a model it has been used without a key.
          if (model === null && key_check === null) this.run('UPDATE gallery SET key_check = ?', sealer.seal(Buffer.from(id), 'key'));
        })
        .immediate();
    }
    const { key_check } = about();
    if (sealer === undefined && key_check !== null) throw wrong('this gallery is encrypted; give its encryptionKey');
    if (sealer !== undefined && key_check === null)
      throw wrong('this gallery is not encrypted; export it and import it into a new one with an encryptionKey');
    try {
      if (sealer !== undefined) sealer.open(key_check!, 'key');
    } catch (error) {
      throw new FaissVisionError('ERR_GALLERY_KEY', `${this.path}: it was encrypted with another key`, { cause: error });
    }
    return sealer;
  }

  #statement(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, (statement = this.#db.prepare(sql)));
    return statement;
  }

  pluck(sql: string): Statement {
    const pluck = `${sql} `; // not the same statement where both are wanted
    const known = this.#statements.get(pluck);
    if (known !== undefined) return known;
    const made = this.#db.prepare<unknown[]>(sql).pluck();
    this.#statements.set(pluck, made);
    return made;
  }

  get(sql: string, ...values: unknown[]): unknown {
    return this.#statement(sql).get(...values);
  }

  all(sql: string, ...values: unknown[]): unknown[] {
    return this.#statement(sql).all(...values);
  }

  each(sql: string, ...values: unknown[]): Iterable<unknown> {
    return this.#statement(sql).iterate(...values);
  }

  run(sql: string, ...values: unknown[]) {
    return this.#statement(sql).run(...values);
  }
}
