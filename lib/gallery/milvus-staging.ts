import { FaissVisionError } from '../error';
import type { MilvusConnection } from './milvus-client';
import type { MilvusIndex } from './milvus-options';
import type { MilvusPeople } from './milvus-people';
import { DESCRIPTION, facesCollection, facesName, type GalleryRecord, newRecord, readFace, recordRow } from './milvus-schema';
import type { GalleryFace, ModelMark } from './types';

/** Features of a next model: in a collection of their own, which takes the place of the present one. */
export class MilvusStaging {
  readonly #connection: MilvusConnection;
  readonly #people: MilvusPeople;
  readonly #index: Required<MilvusIndex>;
  /** Faces that were given out to be embedded, and those that are to be: keys say nothing of the order of enrolment. */
  #given = new Set<string>();
  #waiting: string[] = [];

  constructor(connection: MilvusConnection, people: MilvusPeople, index: Required<MilvusIndex>) {
    this.#connection = connection;
    this.#people = people;
    this.#index = index;
  }

  /** @param goesOn whether faces that were given out before, and not staged, are passed over */
  async unstaged({ faces }: GalleryRecord, mark: ModelMark, limit: number, goesOn: boolean): Promise<GalleryFace[]> {
    if (!goesOn) {
      this.#given = new Set();
      this.#waiting = [];
    }
    for (;;) {
      if (this.#waiting.length === 0) {
        const done = await this.#staged(faces, mark);
        this.#waiting = [...(await this.#ids(faces))].filter((id) => !done.has(id) && !this.#given.has(id));
      }
      const ids = this.#waiting.splice(0, limit);
      for (const id of ids) this.#given.add(id);
      const found = (await this.#people.faceRows(faces, 'id', ids, 'Strong')).map(readFace);
      // Those that are gone by now are no end yet.
      if (ids.length === 0 || found.length > 0) return found;
    }
  }

  async stage(record: GalleryRecord, mark: ModelMark, faces: readonly { id: string; features: Float32Array }[]): Promise<void> {
    const staged = facesName(this.#people.collection, mark);
    if (staged === record.faces) return;
    await this.#make(record, mark, staged);
    const features = new Map(faces.map((face) => [face.id, face.features]));
    const rows = await this.#people.faceRows(record.faces, 'id', features.keys(), 'Strong');
    await this.#connection.upsert(
      staged,
      rows.map((row) => [{ ...row, features: features.get(row['id'] as string)! }]),
    );
  }

  /** @returns the gallery's record from now on */
  async adopt(record: GalleryRecord, mark: ModelMark): Promise<GalleryRecord> {
    const { collection } = this.#people;
    const staged = facesName(collection, mark);
    if (staged === record.faces) return record;
    await this.#make(record, mark, staged);
    await this.#checkComplete(record, mark, staged);
    const next = newRecord(mark, staged, record.revision + 1);
    const forget = (one: GalleryRecord) => this.#connection.remove(collection, 'key', [one.key]);
    await this.#connection.upsert(collection, [[recordRow(next)]]);
    try {
      // Another process may have enrolled somebody until that moment; from then on it sees the record, and does not acknowledge.
      await this.#checkComplete(record, mark, staged);
    } catch (error) {
      await forget(next);
      throw error;
    }
    await forget(record);
    await this.#connection.drop(record.faces);
    return next;
  }

  /** Every face has to be there, and none that is gone. @throws ERR_REEMBED_INCOMPLETE */
  async #checkComplete({ faces }: GalleryRecord, { model }: ModelMark, staged: string): Promise<void> {
    const [present, next] = [await this.#ids(faces), await this.#ids(staged)];
    const missing = [...present].filter((id) => !next.has(id));
    if (missing.length > 0) {
      throw new FaissVisionError(
        'ERR_REEMBED_INCOMPLETE',
        `${missing.length} of ${present.size} faces have no features of ${model} yet, such as ${missing[0]}`,
      );
    }
    await this.#connection.remove(
      staged,
      'id',
      [...next].filter((id) => !present.has(id)),
    );
  }

  /** The collection for a mark, without those of other marks that were begun. */
  async #make({ faces }: GalleryRecord, mark: ModelMark, staged: string): Promise<void> {
    const there = await this.#people.faceCollections();
    for (const other of there) if (other !== staged && other !== faces) await this.#connection.drop(other);
    if (!there.includes(staged)) await this.#connection.create(staged, `faces of ${DESCRIPTION}`, facesCollection(mark, this.#index));
  }

  /** Which faces have features of a mark. */
  async #staged(faces: string, mark: ModelMark): Promise<Set<string>> {
    const staged = facesName(this.#people.collection, mark);
    const isThere = staged === faces || (await this.#people.faceCollections()).includes(staged);
    return isThere ? this.#ids(staged) : new Set();
  }

  async #ids(faces: string): Promise<Set<string>> {
    const found = new Set<string>();
    for await (const rows of this.#connection.scan(faces, ['id'], { key: 'id', page: 10_000, level: 'Strong' }))
      for (const { id } of rows) found.add(id as string);
    return found;
  }
}
