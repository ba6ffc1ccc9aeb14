import { existsSync, rmSync } from 'node:fs';
import { chmod, mkdtemp, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { FaissVisionError } from '../error';
import { invalid } from '../image/check';
import { checkKey } from './encryption';
import { type Delta, faceOf, type IndexSource } from './database';
import { FaceIndex } from './face-index';
import type { FaceIndexOptions } from './index-kind';
import { type Connection, connect, driver, type Statement, told } from './sqlite-driver';
import { create, takeAway } from './sqlite-place';
import type { Reply } from './sqlite-worker';
import type * as Stores from './store';
import type { GalleryFace, ListedPerson, Match, Metadata, ModelMark, Person } from './types';

/** What a gallery in an SQLite file can be told besides. */
export interface SqliteOptions {
  /**
   * What searches: `'flat'`, always exact; a factory string of FAISS's; or `'auto'`, flat up to `flatUpTo` faces and lists (IVF) beyond,
   * with the number of them that a search looks through chosen by the recall on the gallery's own faces. Default `'auto'`.
   */
  index?: 'auto' | 'flat' | (string & {});
  /** Default: as many faces as have 2^28 numbers, 2,097,152 of 128. */
  flatUpTo?: number;
  /**
   * How a flat index searches (docs/exact-search.md): `'bounded'` is several times faster and takes 27 % more memory. Default: `'bounded'`
   * up to 2^25 numbers (262,144 faces of 128), `'plain'` beyond.
   */
  exact?: 'bounded' | 'plain';
  /**
   * Whether `close` writes the index to a file beside the database, so that the next `open` is quicker. Never where features are
   * encrypted. Default: from 2^24 numbers on.
   */
  snapshot?: boolean;
  /** Encrypts features and thumbnails in the file with AES-256-GCM: 32 bytes. Names and metadata stay readable. */
  encryptionKey?: Uint8Array;
  /** Opens for reading: nothing is written, no file is made. */
  readOnly?: boolean;
}

const SNAPSHOT_NUMBERS = 2 ** 24;
const FLAT_NUMBERS = 2 ** 28;

interface Waiting {
  resolve: (result: never) => void;
  reject: (error: unknown) => void;
}

/**
 * People and faces in one SQLite file, searched by a FAISS index that follows it. A worker thread owns the connection; a second one,
 * on the calling thread, reads who it is that was found, by key, which takes some microseconds.
 */
export class SqliteStore implements Stores.Store {
  readonly #path: string;
  readonly #options: SqliteOptions;
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #mark!: ModelMark;
  #encrypted = false;
  #reading!: Connection;
  #match!: Statement;
  #index!: FaceIndex;
  #loaded: Promise<void> | undefined;
  #early: Delta[] | undefined;
  #lost: unknown;
  #ended = false;
  #written: number | undefined;

  private constructor(path: string, options: SqliteOptions & Stores.StoreOptions) {
    this.#path = path;
    this.#options = options;
    const { mark, encryptionKey: key, readOnly = false } = options;
    this.#worker = new Worker(join(__dirname, 'sqlite-worker.js'), { workerData: { path, mark, key, readOnly } });
    this.#worker.on('message', (message: Reply | { delta: Delta } | { failed: { code: string; message: string } }) => this.#hear(message));
    this.#worker.on('error', (error) => this.#end(error));
    this.#worker.on('exit', () => this.#end(new FaissVisionError('ERR_CLOSED', 'this Gallery was closed')));
  }

  /** @throws ERR_SQLITE_UNAVAILABLE, ERR_GALLERY_NOT_FOUND and the other codes of `Store` */
  static async open(location: string, options: SqliteOptions & Stores.StoreOptions): Promise<SqliteStore> {
    const path = resolve(location); // which is never one of SQLite's own, such as :memory:
    if (path !== path.trim()) throw invalid('location', 'a path without spaces around it', location); // better-sqlite3 takes them off
    checkKey(options.encryptionKey);
    driver(); // before there is a file
    create(path, options.mark !== undefined && options.readOnly !== true);
    const store = new SqliteStore(path, options);
    const { mark, encrypted } = (await new Promise<unknown>((resolve, reject) => store.#waiting.set(0, { resolve, reject }))) as {
      mark: ModelMark;
      encrypted: boolean;
    };
    store.#mark = mark;
    store.#encrypted = encrypted;
    try {
      store.#reading = connect(path, { readonly: true });
      store.#reading.pragma('cache_size = -2000');
      store.#match = store.#reading.prepare(
        `SELECT people.id, name, metadata, people.created, updated, faces.id AS face
         FROM faces JOIN people ON people.number = person WHERE faces.number = ?`,
      );
      const { index = 'auto', flatUpTo = Math.floor(FLAT_NUMBERS / mark.dimension), exact } = options;
      const chosen: FaceIndexOptions = { index, flatUpTo, exact };
      store.#index = new FaceIndex(mark, chosen, (after, last, memory) => store.#ask('fillPage', after, last, memory));
      // Without a model nobody means to search: what only lists or removes needs no index.
      if (options.mark !== undefined) await store.#load();
    } catch (error) {
      await store.close().catch(() => {});
      throw told(error, path);
    }
    return store;
  }

  get mark(): ModelMark {
    return this.#mark;
  }

  get #snapshotFile(): string {
    return `${this.#path}.index`;
  }

  #load(): Promise<void> {
    this.#loaded ??= (async () => {
      this.#early = [];
      const source: IndexSource = await this.#ask('source');
      this.#written = source.snapshot?.face;
      await this.#index.load(source, this.#snapshotFile);
      // A file that is not the database's, or has what was removed, is of no use and may hold personal data.
      if (this.#options.readOnly !== true) await takeAway(this.#snapshotFile, this.#index.from === 'snapshot' && source.removed.length === 0);
      const early = this.#early;
      this.#early = undefined;
      for (const delta of early) this.#apply(delta);
    })();
    return this.#loaded;
  }

  #apply({ added, removed, moment }: Delta): void {
    this.#index.apply(added, removed, moment);
  }

  #hear(message: Reply | { delta: Delta } | { failed: { code: string; message: string } }): void {
    if ('delta' in message) {
      if (this.#early !== undefined) this.#early.push(message.delta);
      else this.#apply(message.delta);
    } else if ('failed' in message) {
      this.#lost = revived(message.failed);
    } else {
      const waiting = this.#waiting.get(message.id)!;
      this.#waiting.delete(message.id);
      if (this.#waiting.size === 0) this.#worker.unref(); // nothing that would be lost
      if ('error' in message) waiting.reject(revived(message.error));
      else waiting.resolve(message.result as never);
    }
  }

  #end(error: unknown): void {
    this.#ended = true;
    this.#lost ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  #ask<T>(method: string, ...args: unknown[]): Promise<T> {
    if (this.#lost !== undefined && method !== 'close') return Promise.reject(this.#lost as Error);
    return new Promise((resolve, reject) => {
      const id = ++this.#calls;
      this.#waiting.set(id, { resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage({ id, method, args });
    });
  }

  enroll(enrolments: readonly Stores.Enrolment[], options: Stores.EnrollOptions): Promise<Stores.Enrolled[]> {
    return this.#ask('enroll', enrolments, options);
  }

  async search(features: Float32Array, top: number, { filter, people, signal }: Stores.SearchOptions = {}): Promise<Match[][]> {
    await this.#load();
    for (;;) {
      if (this.#lost !== undefined) throw this.#lost;
      let keep: BigInt64Array | undefined;
      if (filter !== undefined || people !== undefined) {
        keep = await this.#ask<BigInt64Array>('labels', filter, people);
        signal?.throwIfAborted();
        if (keep.length === 0) return Array.from({ length: features.length / this.#mark.dimension }, () => []);
      }
      const neighbours = await this.#index.nearest(features, top, keep, signal);
      const matches = neighbours.map((some) => some.map(({ label, score }) => this.#matchOf(label, score)));
      if (matches.every((some) => some.every((match) => match !== undefined))) return matches as Match[][];
      // Somebody was removed while this was searched: the answer is to be that of a moment, so it is searched again without them.
      await this.#ask('sync');
    }
  }

  #matchOf(label: bigint, score: number): Match | undefined {
    const row = this.#match.get(faceOf(label)) as
      { id: string; name: string; metadata: string; created: number; updated: number; face: string } | undefined;
    if (row === undefined) return undefined;
    const { id, name, metadata, created, updated, face } = row;
    const person = { id, name, metadata: JSON.parse(metadata) as Metadata, created: new Date(created), updated: new Date(updated) };
    return { person, face, score };
  }

  person(key: { id: string } | { name: string }): Promise<ListedPerson | undefined> {
    return this.#ask('person', key);
  }

  list(options: Stores.ListOptions): Promise<Stores.Page<ListedPerson>> {
    return this.#ask('list', options);
  }

  faces(person: string): Promise<GalleryFace[]> {
    return this.#ask('faces', person);
  }

  update(person: string, change: { name?: string; metadata?: Metadata }): Promise<Person> {
    return this.#ask('update', person, change);
  }

  removePerson(person: string): Promise<number | undefined> {
    return this.#ask('removePerson', person);
  }

  removeFace(face: string): Promise<boolean> {
    return this.#ask('removeFace', face);
  }

  async *entries({ after = '' }: { after?: string | undefined } = {}): AsyncGenerator<Stores.Entry> {
    for (let name = after; ;) {
      const entries = await this.#ask<Stores.Entry[]>('entries', name);
      if (entries.length === 0) return;
      yield* entries;
      name = entries.at(-1)!.person.name;
    }
  }

  unstaged(mark: ModelMark, limit: number, after?: string): Promise<GalleryFace[]> {
    return this.#ask('unstaged', mark, limit, after);
  }

  stage(mark: ModelMark, faces: readonly { id: string; features: Float32Array }[]): Promise<void> {
    return this.#ask('stage', mark, faces);
  }

  adopt(mark: ModelMark): Promise<void> {
    return this.#ask('adopt', mark);
  }

  async describe(): Promise<Stores.StoreDescription> {
    const counts = await this.#ask<{ people: number; faces: number }>('counts');
    const index = this.#loaded === undefined ? {} : { ...(await this.#index.about()) };
    return { store: 'sqlite', ...counts, encrypted: this.#encrypted, index };
  }

  /** Resolves once no index is being built in the background. @throws why one could not be */
  async settled(): Promise<void> {
    await this.#loaded;
    await this.#index.settled();
  }

  /** Writes the index to its file, where that is behind. */
  async snapshot(): Promise<void> {
    const { snapshot, readOnly } = this.#options;
    if (readOnly === true || this.#encrypted || snapshot === false || this.#loaded === undefined || this.#lost !== undefined) return;
    await this.#loaded;
    const { faces } = await this.#ask<{ faces: number }>('counts');
    if (snapshot === undefined && faces * this.#mark.dimension < SNAPSHOT_NUMBERS) return;
    // What came since is quickly read again.
    if (this.#written !== undefined && this.#index.moment.face - this.#written <= faces / 100 && existsSync(this.#snapshotFile)) return;
    // In a folder that only the owner may open, until only the owner may read the file.
    const folder = await mkdtemp(`${this.#snapshotFile}.tmp-${process.pid}-`);
    const unfinished = join(folder, 'index');
    let saved: Awaited<ReturnType<FaceIndex['save']>>;
    try {
      saved = await this.#index.save(unfinished);
      if (saved === undefined) return;
      await chmod(unfinished, 0o600);
      await rename(unfinished, this.#snapshotFile);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
    this.#written = saved.moment.face;
    if (!(await this.#ask<boolean>('noteSnapshot', saved.about, saved.moment))) rmSync(this.#snapshotFile, { force: true });
  }

  async close(): Promise<void> {
    // Everything acknowledged is in the database: a file of the index that cannot be written costs the next open some time only.
    await this.snapshot().catch(() => {});
    await this.#index?.close();
    this.#reading?.close();
    if (!this.#ended) await this.#ask('close');
  }
}

const revived = (error: { code?: string; message: string }): Error =>
  error instanceof Error ? error : new FaissVisionError(error.code ?? 'ERR_GALLERY_SQLITE', error.message);
