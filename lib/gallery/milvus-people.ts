import { setTimeout as pause } from 'node:timers/promises';
import type { MilvusConnection, Row } from './milvus-client';
import type { MilvusConsistency } from './milvus-options';
import {
  claimRow,
  facesPrefix,
  FACE_FIELDS,
  type GalleryRecord,
  IS_PERSON,
  IS_RECORD,
  isClaim,
  nameHash,
  newest,
  PEOPLE_FIELDS,
  readPerson,
  readRecord,
} from './milvus-schema';
import type { Person } from './types';

/** A claim that has been seen for so long is nobody's. */
const LEASE_MS = 10_000;

/** People and faces as a Milvus server has them, looked up. */
export class MilvusPeople {
  readonly #connection: MilvusConnection;
  readonly collection: string;
  /** Claims of this process that are, or may be, on the server. */
  readonly #claims = new Set<string>();

  constructor(connection: MilvusConnection, collection: string) {
    this.#connection = connection;
    this.collection = collection;
  }

  /** All rows of these people, older revisions too. */
  rows(ids: Iterable<string>, level: MilvusConsistency): Promise<Row[]> {
    return this.#connection.rows(this.collection, PEOPLE_FIELDS, { key: 'key', field: 'id', values: ids, filter: IS_PERSON, level });
  }

  /** All rows of a condition. */
  async all(filter: string): Promise<Row[]> {
    const found: Row[] = [];
    for await (const rows of this.#connection.scan(this.collection, PEOPLE_FIELDS, { key: 'key', filter, level: 'Strong' })) found.push(...rows);
    return found;
  }

  /** The gallery's own record. */
  async record(): Promise<GalleryRecord | undefined> {
    return readRecord(await this.all(IS_RECORD));
  }

  async byId(ids: Iterable<string>, level: MilvusConsistency): Promise<Map<string, Person>> {
    return new Map(newest(await this.rows(ids, level)).map((row) => [row['id'] as string, readPerson(row)]));
  }

  /** Those of the rows that are the newest of their person, as people, in the order of the rows. */
  async current(rows: Row[], level: MilvusConsistency): Promise<Person[]> {
    const all = newest(
      await this.rows(
        rows.map(({ id }) => id as string),
        level,
      ),
    );
    const keys = new Set(all.map(({ key }) => key));
    return rows.filter(({ key }) => keys.has(key)).map(readPerson);
  }

  /** Who has these names. */
  async byName(names: Iterable<string>, level: MilvusConsistency): Promise<Person[]> {
    const found = (await this.#named(names, level)).filter((row) => !isClaim(row));
    return found.length === 0 ? [] : this.current(found, level);
  }

  /** Rows of people with these names, older revisions too, and claims to them. */
  #named(names: Iterable<string>, level: MilvusConsistency): Promise<Row[]> {
    return this.#connection.rows(this.collection, PEOPLE_FIELDS, { key: 'key', field: 'name_hash', values: Array.from(names, nameHash), level });
  }

  /**
   * Takes names that nobody has, for as long as it takes to write their people: Milvus keeps nothing unique. Of two processes that
   * claim one at the same moment, whoever sees the other's claim withdraws and begins again. A person is written before the claim is
   * removed, so that later ones see the one or the other.
   * @param write what to write under the claim
   * @returns false where somebody has one of the names by now
   */
  async claim(names: readonly string[], write: () => Promise<void>): Promise<boolean> {
    const seen = new Map<string, number>();
    for (;;) {
      const claims = names.map(claimRow);
      for (const { key } of claims) this.#claims.add(key as string);
      const begin = performance.now();
      await this.#connection.upsert(
        this.collection,
        claims.map((claim) => [claim]),
      );
      const rows = await this.#named(names, 'Strong');
      // Changes of a process come one after another: what it left of an earlier one, when the server went away, is nobody's.
      const others = rows.filter((row) => isClaim(row) && !this.#claims.has(row['key'] as string)).map(({ key }) => key as string);
      const named = rows.filter((row) => !isClaim(row));
      const isTaken = named.length > 0 && (await this.current(named, 'Strong')).length > 0;
      const isMine = others.length === 0 && !isTaken && performance.now() - begin < LEASE_MS / 2;
      if (isMine) await write();
      // Whoever made a claim that stays is not there any more.
      const now = performance.now();
      for (const key of others) if (!seen.has(key)) seen.set(key, now);
      const stale = others.filter((key) => now - seen.get(key)! > LEASE_MS);
      await this.#connection.remove(this.collection, 'key', [...this.#claims, ...stale]);
      this.#claims.clear();
      if (isMine || isTaken) return isMine;
      await pause(50 + Math.random() * 250);
    }
  }

  /** How many faces each of these people has. */
  async faceCounts(faces: string, ids: Iterable<string>, level: MilvusConsistency): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    for (const { person } of await this.#connection.rows(faces, ['id', 'person'], { key: 'id', field: 'person', values: ids, level })) {
      counts.set(person as string, (counts.get(person as string) ?? 0) + 1);
    }
    return counts;
  }

  /** Rows of faces by a field, without features unless asked for. */
  faceRows(faces: string, field: 'id' | 'person', values: Iterable<string>, level: MilvusConsistency, more: string[] = []): Promise<Row[]> {
    return this.#connection.rows(faces, [...FACE_FIELDS, ...more], { key: 'id', field, values, level });
  }

  /** The collections that have faces of this gallery: of the present model, and of a next one. */
  async faceCollections(): Promise<string[]> {
    return (await this.#connection.collections()).filter((name) => name.startsWith(facesPrefix(this.collection)));
  }

  /** Removes what these people, or these faces, have in every collection of faces. */
  async removeFaces(field: 'id' | 'person', values: readonly string[]): Promise<void> {
    for (const faces of await this.faceCollections()) await this.#connection.remove(faces, field, values);
  }
}
