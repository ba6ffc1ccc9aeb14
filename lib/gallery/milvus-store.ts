import { Calls } from '../calls';
import { FaissVisionError } from '../error';
import { invalid } from '../image/check';
import { passes } from './checks';
import { nameOf, nameTaken, sameMark } from './database';
import { checkConsistency, MilvusConnection, type Row } from './milvus-client';
import { enroll } from './milvus-enroll';
import type { MilvusConsistency, MilvusIndex, MilvusOptions } from './milvus-options';
import { MilvusPeople } from './milvus-people';
import * as schema from './milvus-schema';
import { search } from './milvus-search';
import { MilvusStaging } from './milvus-staging';
import { parseMilvusUrl } from './milvus-url';
import type { SqliteOptions } from './sqlite-store';
import type { Enrolled, Enrolment, EnrollOptions, Entry, ListOptions, Page, SearchOptions, Store, StoreDescription, StoreOptions } from './store';
import type { GalleryFace, ListedPerson, Match, Metadata, ModelMark, Person } from './types';

type Options = MilvusOptions & Pick<SqliteOptions, 'readOnly' | 'encryptionKey'> & StoreOptions;

/** What was begun by another process may be under way for so long; then it is taken as ended in the middle. */
const ABANDONED_MS = 60 * 60 * 1000;
/** People who are read together where only some of them may pass. */
const FILTERED = 200;
/** People whose faces are fetched together. */
const ENTRIES = 100;

/** People and faces on a Milvus server. */
export class MilvusStore implements Store {
  readonly #connection: MilvusConnection;
  readonly #people: MilvusPeople;
  readonly #level: MilvusConsistency;
  readonly #searchParams: Row;
  readonly #shown: string;
  readonly #readOnly: boolean;
  readonly #staging: MilvusStaging;
  readonly #calls = new Calls('gallery');
  #record: schema.GalleryRecord;
  /** Changes happen one after another: what one was decided by must not change meanwhile. */
  #changes: Promise<unknown> = Promise.resolve();

  private constructor(
    connection: MilvusConnection,
    people: MilvusPeople,
    record: schema.GalleryRecord,
    options: { shown: string; level: MilvusConsistency; index: Required<MilvusIndex>; readOnly: boolean },
  ) {
    this.#connection = connection;
    this.#people = people;
    this.#record = record;
    this.#level = options.level;
    this.#shown = options.shown;
    this.#searchParams = options.index.searchParams;
    this.#staging = new MilvusStaging(connection, people, options.index);
    this.#readOnly = options.readOnly;
  }

  /**
   * @param url `milvus://host:19530/collection`, or with a database before the collection
   * @throws ERR_GALLERY_FOREIGN, ERR_GALLERY_VERSION, ERR_MODEL_MISMATCH, ERR_GALLERY_UNREACHABLE, ERR_GALLERY_DENIED,
   * ERR_MILVUS_UNAVAILABLE where the package is not installed
   */
  static async open(url: string, options: Options): Promise<MilvusStore> {
    const place = parseMilvusUrl(url);
    const { mark, readOnly = false, encryptionKey } = options;
    const level = checkConsistency(options.consistency ?? 'Strong');
    const index = schema.checkIndex(options);
    if (encryptionKey !== undefined) throw invalid('encryptionKey', 'left out: a Milvus server has to read features to compare them', 'a key');
    const connection = new MilvusConnection(place, options);
    try {
      const people = new MilvusPeople(connection, place.collection);
      let record = await findRecord(connection, people, place.shown);
      if (record === undefined && !readOnly && mark !== undefined) record = await makeRecord(connection, people, mark, index);
      if (record === undefined) {
        throw new FaissVisionError('ERR_GALLERY_NOT_FOUND', `${place.shown}: nobody was ever enrolled here; open it with a recogniser`);
      }
      if (mark !== undefined && !sameMark(record.mark, mark)) {
        const its = `its features are ${nameOf(record.mark)}, the recogniser's ${nameOf(mark)}`;
        throw new FaissVisionError('ERR_MODEL_MISMATCH', `${place.shown}: ${its}: they cannot be compared. Gallery.reembed changes the model`);
      }
      await connection.load(record.faces);
      if (!readOnly) await finishAbandoned(connection, people);
      return new MilvusStore(connection, people, record, { shown: place.shown, level, index, readOnly });
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  get mark(): ModelMark {
    return this.#record.mark;
  }

  enroll(enrolments: readonly Enrolment[], options: EnrollOptions): Promise<Enrolled[]> {
    return this.#change(() => enroll(this.#connection, this.#people, this.#record.faces, enrolments, options, () => this.#checkModel()));
  }

  search(features: Float32Array, top: number, options: SearchOptions = {}): Promise<Match[][]> {
    return this.#run(() =>
      search(this.#connection, this.#people, this.#record, features, { ...options, top, level: this.#level, params: this.#searchParams }),
    );
  }

  person(key: { id: string } | { name: string }): Promise<ListedPerson | undefined> {
    return this.#run(async () => {
      const found = 'id' in key ? [...(await this.#people.byId([key.id], this.#level)).values()] : await this.#people.byName([key.name], this.#level);
      if (found[0] === undefined) return undefined;
      return { ...found[0], faces: await this.#connection.count(this.#record.faces, `person == "${found[0].id}"`, this.#level) };
    });
  }

  list({ cursor, limit, filter }: ListOptions): Promise<Page<ListedPerson>> {
    return this.#run(async () => {
      const items: Person[] = [];
      // One more than asked for says whether there is another page.
      const [size, condition] = filter === undefined ? [limit + 1, schema.IS_PERSON] : [FILTERED, schema.expression(filter)];
      for await (const people of this.#pages(cursor, size, condition)) {
        items.push(...people.filter(({ metadata }) => filter === undefined || passes(filter, metadata)));
        if (items.length > limit) break;
      }
      const page = items.slice(0, limit);
      const ids = page.map(({ id }) => id);
      const counts = await this.#people.faceCounts(this.#record.faces, ids, this.#level);
      return { items: page.map((one) => ({ ...one, faces: counts.get(one.id) ?? 0 })), ...(items.length > limit && { next: page.at(-1)!.name }) };
    });
  }

  /** People in the order of their names, behind a name. */
  async *#pages(after: string | undefined, page: number, filter: string): AsyncGenerator<Person[]> {
    const from = after === undefined ? '' : schema.behind(after);
    for await (const rows of this.#connection.scan(this.#people.collection, schema.PEOPLE_FIELDS, {
      key: 'key',
      filter,
      after: from,
      page,
      level: this.#level,
    })) {
      yield await this.#people.current(rows, this.#level);
    }
  }

  faces(person: string): Promise<GalleryFace[]> {
    return this.#run(async () =>
      schema.inOrder(await this.#people.faceRows(this.#record.faces, 'person', [person], this.#level)).map(schema.readFace),
    );
  }

  update(person: string, change: { name?: string; metadata?: Metadata }): Promise<Person> {
    return this.#change(async () => {
      const rows = await this.#people.rows([person], 'Strong');
      const [row] = schema.newest(rows);
      if (row === undefined) throw new FaissVisionError('ERR_PERSON_UNKNOWN', `nobody has the id ${person}`);
      const old = schema.readPerson(row);
      const changed = { ...old, ...change, updated: new Date() };
      const write = () => this.#connection.upsert(this.#people.collection, [[schema.personRow(changed, Number(row['revision']) + 1)]]);
      if (changed.name === old.name) await write();
      else if (!(await this.#people.claim([changed.name], write)))
        throw nameTaken(changed.name, (await this.#people.byName([changed.name], 'Strong'))[0]?.id ?? 'gone by now');
      await this.#connection.remove(
        this.#people.collection,
        'key',
        rows.map(({ key }) => key as string),
      );
      return changed;
    });
  }

  removePerson(person: string): Promise<number | undefined> {
    return this.#change(async () => {
      const rows = await this.#people.rows([person], 'Strong');
      if (rows.length === 0) return undefined;
      const faces = await this.#connection.count(this.#record.faces, `person == "${person}"`, 'Strong');
      const note = schema.noteRow([person]);
      await this.#connection.upsert(this.#people.collection, [[note]]);
      await this.#connection.remove(
        this.#people.collection,
        'key',
        rows.map(({ key }) => key as string),
      );
      await this.#people.removeFaces('person', [person]);
      await this.#connection.remove(this.#people.collection, 'key', [note['key'] as string]);
      return faces;
    });
  }

  removeFace(face: string): Promise<boolean> {
    return this.#change(async () => {
      const rows = await this.#people.faceRows(this.#record.faces, 'id', [face], 'Strong');
      if (rows.length > 0) await this.#people.removeFaces('id', [face]);
      return rows.length > 0;
    });
  }

  async *entries({ after }: { after?: string | undefined } = {}): AsyncGenerator<Entry> {
    const pages = this.#pages(after, ENTRIES, schema.IS_PERSON);
    for (;;) {
      const entries = await this.#run(async () => {
        const { value: people, done } = await pages.next();
        if (done === true) return undefined;
        const rows = schema.inOrder(
          await this.#people.faceRows(
            this.#record.faces,
            'person',
            people.map(({ id }) => id),
            this.#level,
            ['features'],
          ),
        );
        const faces = new Map(people.map(({ id }) => [id, [] as typeof rows]));
        for (const row of rows) faces.get(row['person'] as string)!.push(row);
        return people.map((person) => ({ person, faces: faces.get(person.id)!.map(schema.readStoredFace) }));
      });
      if (entries === undefined) return;
      yield* entries;
    }
  }

  unstaged(mark: ModelMark, limit: number, after?: string): Promise<GalleryFace[]> {
    return this.#run(() => this.#staging.unstaged(this.#record, mark, limit, after !== undefined));
  }

  stage(mark: ModelMark, faces: readonly { id: string; features: Float32Array }[]): Promise<void> {
    return this.#change(() => this.#staging.stage(this.#record, mark, faces));
  }

  adopt(mark: ModelMark): Promise<void> {
    return this.#change(async () => {
      this.#record = await this.#staging.adopt(this.#record, mark);
    });
  }

  describe(): Promise<StoreDescription> {
    return this.#run(async () => ({
      store: 'milvus',
      people: await this.#connection.count(this.#people.collection, schema.IS_PERSON, this.#level),
      faces: await this.#connection.count(this.#record.faces, 'id > ""', this.#level),
      index: await this.#connection.index(this.#record.faces, 'features'),
    }));
  }

  async close(): Promise<void> {
    await this.#calls.close();
    await this.#connection.close();
  }

  /** @throws ERR_MODEL_MISMATCH where another process has changed the model */
  async #checkModel(): Promise<void> {
    const record = await this.#people.record();
    if (record === undefined || record.faces === this.#record.faces) return;
    const text = `its faces were embedded anew by another model than ${nameOf(this.#record.mark)}; open it with that one`;
    throw new FaissVisionError('ERR_MODEL_MISMATCH', `${this.#shown}: ${text}`);
  }

  #run<T>(work: () => Promise<T>): Promise<T> {
    return this.#calls.run(async () => {
      try {
        return await work();
      } catch (error) {
        // The collection of a former model is dropped.
        if (error instanceof FaissVisionError && ['ERR_GALLERY_CORRUPT', 'ERR_GALLERY_REFUSED'].includes(error.code)) await this.#checkModel();
        throw error;
      }
    });
  }

  #change<T>(work: () => Promise<T>): Promise<T> {
    return this.#run(async () => {
      if (this.#readOnly) throw new FaissVisionError('ERR_GALLERY_READONLY', 'this gallery is opened for reading only');
      const mine = this.#changes.then(work);
      this.#changes = mine.catch(() => {});
      return mine;
    });
  }
}

/** The record of a gallery that is there. */
async function findRecord(connection: MilvusConnection, people: MilvusPeople, shown: string): Promise<schema.GalleryRecord | undefined> {
  if (!(await connection.collections()).includes(people.collection)) return undefined;
  schema.checkOurs(shown, await connection.description(people.collection));
  await connection.load(people.collection);
  return people.record();
}

/** Makes a gallery, or goes on where making one ended in the middle. */
async function makeRecord(
  connection: MilvusConnection,
  people: MilvusPeople,
  mark: ModelMark,
  index: Required<MilvusIndex>,
): Promise<schema.GalleryRecord> {
  const { collection } = people;
  await connection.create(collection, schema.DESCRIPTION, schema.PEOPLE);
  const faces = schema.facesName(collection, mark);
  await connection.create(faces, `faces of ${schema.DESCRIPTION}`, schema.facesCollection(mark, index));
  await connection.upsert(collection, [[schema.recordRow(schema.newRecord(mark, faces, 1))]]);
  // Another process may have made it for another model at the same moment: the last one counts.
  return (await people.record())!;
}

/** Removes faces of people who were being made or removed when something ended in the middle. */
async function finishAbandoned(connection: MilvusConnection, people: MilvusPeople): Promise<void> {
  const rows = await people.all(schema.IS_UNDER_WAY);
  const isOld = ({ created }: Row) => Date.now() - Number(created) > ABANDONED_MS;
  const underWay = new Set(rows.filter((row) => !isOld(row)).flatMap(schema.notedBy));
  const old = rows.filter(isOld);
  const named = old.flatMap(schema.notedBy).filter((id) => !underWay.has(id));
  const there = await people.byId(named, 'Strong');
  const gone = named.filter((id) => !there.has(id));
  if (gone.length > 0) await people.removeFaces('person', gone);
  await connection.remove(
    people.collection,
    'key',
    old.map(({ key }) => key as string),
  );
}
