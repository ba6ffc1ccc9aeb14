import { createHash, randomUUID } from 'node:crypto';
import { FaissVisionError } from '../error';
import { invalid } from '../image/check';
import type { Row } from './milvus-client';
import type { MilvusIndex } from './milvus-options';
import type { GalleryFace, Metadata, MetadataFilter, ModelMark, Person, StoredFace } from './types';

const FORMAT = 1;
const OURS = 'faiss-vision gallery, format ';
export const DESCRIPTION = `${OURS}${FORMAT}`;

/** base64 in the longest text that Milvus takes. */
const THUMBNAIL_BYTES = Math.floor(65_535 / 4) * 3;

export function checkIndex({ indexType = 'FLAT', indexParams = {}, searchParams = {} }: MilvusIndex): Required<MilvusIndex> {
  if (typeof indexType !== 'string' || !/^[A-Z0-9_]{1,32}$/.test(indexType)) {
    throw invalid('indexType', "one of Milvus's indexes, such as 'HNSW'", indexType);
  }
  for (const [name, params] of Object.entries({ indexParams, searchParams })) {
    if (typeof params !== 'object' || params === null) throw invalid(name, 'an object of numbers', params);
  }
  return { indexType, indexParams, searchParams };
}

const text = (name: string, length: number, more: Row = {}): Row => ({ name, data_type: 'VarChar', max_length: length, ...more });
const whole = (name: string): Row => ({ name, data_type: 'Int64' });
const json = (name: string): Row => ({ name, data_type: 'JSON' });
const vector = (name: string, dimension: number): Row => ({ name, data_type: 'FloatVector', dim: dimension });
const lookup = (field: string): Row => ({ field_name: field, index_name: `by_${field}`, index_type: 'INVERTED' });

/**
 * People, the gallery's own record, and what is under way. A change writes a new row with a higher revision and then removes the
 * older ones: Milvus Lite removes before it writes where a row is written over, and a crash between the two would lose the person.
 */
export const PEOPLE: { fields: Row[]; index: Row[] } = {
  fields: [
    text('key', 2_304, { is_primary_key: true }),
    text('id', 64),
    whole('revision'),
    text('name', 1_024),
    text('name_hash', 64), // to look a name up without escapes
    json('metadata'),
    whole('created'),
    whole('updated'),
    vector('unused', 2), // every collection must have one
  ],
  index: [{ field_name: 'unused', index_name: 'unused', index_type: 'FLAT', metric_type: 'L2' }, lookup('id'), lookup('name_hash')],
};
export const PEOPLE_FIELDS = PEOPLE.fields.map(({ name }) => name as string).filter((name) => name !== 'unused');

export function facesCollection(mark: ModelMark, { indexType, indexParams }: Required<MilvusIndex>): { fields: Row[]; index: Row[] } {
  return {
    fields: [
      text('id', 64, { is_primary_key: true }),
      text('person', 64),
      whole('sequence'), // in the order of enrolment
      whole('created'),
      json('place'), // box and score
      text('thumbnail', 65_535),
      vector('features', mark.dimension),
    ],
    index: [
      { field_name: 'features', index_name: 'features', index_type: indexType, metric_type: metricOf(mark), params: indexParams },
      lookup('person'),
    ],
  };
}
export const FACE_FIELDS = ['id', 'person', 'sequence', 'created', 'place', 'thumbnail'];

/** Features for the cosine are of length 1, so that their inner product is it. */
export function metricOf({ metric }: ModelMark): 'L2' | 'IP' {
  return metric === 'l2' ? 'L2' : 'IP';
}

/** Milvus's L2 is the square of the distance. */
export function scoreOf({ metric }: ModelMark, score: number): number {
  return metric === 'l2' ? Math.sqrt(Math.max(0, score)) : score;
}

/** What the names of all collections of faces begin with. */
export const facesPrefix = (people: string) => `${people}_faces_`;

export function facesName(people: string, { model, version, dimension, metric }: ModelMark): string {
  return (
    facesPrefix(people) +
    createHash('sha256')
      .update(JSON.stringify([model, version, dimension, metric]))
      .digest('hex')
      .slice(0, 12)
  );
}

// Keys of people begin with the name's bytes in hexadecimal: their order is that of the names, and nothing in them has to be escaped.
const hex = (name: string) => Buffer.from(name).toString('hex');
const personKey = (name: string, id: string, revision: number) => `${hex(name)}.${id}.${revision}`;
export const IS_PERSON = 'key > "."';
export const nameHash = (name: string) => createHash('sha256').update(name).digest('hex');
/** A key behind all of this name, and before those of every later name. */
export const behind = (name: string) => `${hex(name)}/`;

/** The gallery's own record: which model, and which collection has its faces. */
export interface GalleryRecord {
  key: string;
  mark: ModelMark;
  faces: string;
  revision: number;
}
export const IS_RECORD = '(key > "!gallery." and key < "!gallery/")';

// Two processes may make a gallery at the same moment. A key for each: where one wrote over the other's row, a reader might find none.
export const newRecord = (mark: ModelMark, faces: string, revision: number): GalleryRecord => {
  return { key: `!gallery.${revision}.${randomUUID()}`, mark, faces, revision };
};
export const recordRow = ({ key, mark, faces, revision }: GalleryRecord) =>
  peopleRow(key, 'gallery', revision, { metadata: { mark: { ...mark }, faces } });

export function readRecord(rows: Row[]): GalleryRecord | undefined {
  const [row] = newest(rows);
  if (row === undefined) return undefined;
  const { mark, faces } = row['metadata'] as unknown as Pick<GalleryRecord, 'mark' | 'faces'>;
  return { key: row['key'] as string, mark, faces, revision: Number(row['revision']) };
}

/** What is under way: notes and claims. */
export const IS_UNDER_WAY = '(key > "!claim." and key < "!claim/") or (key > "!note." and key < "!note/")';

/** A note that these people may have faces and no record of their own, because something is under way or ended in the middle. */
export const noteRow = (people: string[]) => peopleRow(`!note.${randomUUID()}`, 'note', 0, { metadata: { people } });
export const notedBy = ({ id, metadata }: Row) => (id === 'note' ? (metadata as { people: string[] }).people : []);

/** A claim to a name: nobody else takes it meanwhile. */
export const claimRow = (name: string) => peopleRow(`!claim.${randomUUID()}`, 'claim', 0, { name });
export const isClaim = ({ id, key }: Row) => id === 'claim' && (key as string).startsWith('!');

export const personRow = ({ id, name, metadata, created, updated }: Person, revision: number) =>
  peopleRow(personKey(name, id, revision), id, revision, { name, metadata, created: created.getTime(), updated: updated.getTime() });

function peopleRow(
  key: string,
  id: string,
  revision: number,
  { name = '', metadata = {} as Metadata, created = Date.now(), updated = Date.now() },
): Row {
  return { key, id, revision, name, name_hash: nameHash(name), metadata, created, updated, unused: [0, 0] };
}

export const readPerson = (row: Row): Person => ({
  id: row['id'] as string,
  name: row['name'] as string,
  metadata: row['metadata'] as Metadata,
  created: new Date(Number(row['created'])),
  updated: new Date(Number(row['updated'])),
});

/** Of each id the row that counts. Two processes may have made the same revision of it; then all readers take the same one. */
export function newest(rows: Row[]): Row[] {
  const found = new Map<string, Row>();
  for (const row of rows) {
    const other = found.get(row['id'] as string);
    const ahead = Number(row['revision']) - Number(other?.['revision'] ?? -1);
    if (ahead > 0 || (ahead === 0 && row['key']! > other!['key']!)) found.set(row['id'] as string, row);
  }
  return [...found.values()];
}

/** @throws ERR_INVALID_ARGUMENT where the thumbnail is larger than Milvus can keep */
export function faceRow({ id, person, created, box, score, thumbnail, features }: StoredFace, sequence: number): Row {
  if (thumbnail !== undefined && thumbnail.length > THUMBNAIL_BYTES) {
    throw invalid('thumbnail', `at most ${THUMBNAIL_BYTES} bytes, which is what Milvus keeps`, `${thumbnail.length} bytes`);
  }
  return {
    id,
    person,
    sequence,
    created: created.getTime(),
    place: { ...(box !== undefined && { box }), ...(score !== undefined && { score }) },
    thumbnail: thumbnail === undefined ? '' : Buffer.from(thumbnail).toString('base64'),
    features,
  };
}

export function readFace(row: Row): GalleryFace {
  const thumbnail = row['thumbnail'] as string;
  return {
    id: row['id'] as string,
    person: row['person'] as string,
    created: new Date(Number(row['created'])),
    ...(row['place'] as Pick<GalleryFace, 'box' | 'score'>),
    ...(thumbnail !== '' && { thumbnail: new Uint8Array(Buffer.from(thumbnail, 'base64')) }),
  };
}

export const readStoredFace = (row: Row): StoredFace => ({ ...readFace(row), features: Float32Array.from(row['features'] as number[]) });

/** Rows of faces in the order of their enrolment. */
export const inOrder = (rows: Row[]) => rows.sort((a, b) => Number(a['sequence']) - Number(b['sequence']));

// An expression that is nested deeper is not understood: protobuf stops at 100 levels.
const CLAUSES = 20;

/**
 * What of a filter can be said in Milvus's language without escapes: it lets through at least what passes, so `passes` has the last
 * word.
 */
export function expression(filter: MetadataFilter): string {
  const isPlain = (text: string) => /^[^"\\\p{C}]*$/u.test(text);
  const clauses = Object.entries(filter).flatMap(([key, wanted]) => {
    const values: readonly unknown[] = Array.isArray(wanted) ? wanted : [wanted];
    const kinds = new Set(values.map((value) => typeof value));
    if (kinds.size !== 1 || key === '' || !isPlain(key) || !values.every((value) => typeof value !== 'string' || isPlain(value))) return [];
    return [values.length === 1 ? `metadata["${key}"] == ${JSON.stringify(values[0])}` : `metadata["${key}"] in ${JSON.stringify(values)}`];
  });
  return [IS_PERSON, ...clauses.slice(0, CLAUSES)].join(' and ');
}

/** @throws ERR_GALLERY_FOREIGN, ERR_GALLERY_VERSION */
export function checkOurs(shown: string, { description, fields }: { description: string; fields: string[] }): void {
  const ours = description.startsWith(OURS) && PEOPLE_FIELDS.every((field) => fields.includes(field));
  const format = Number(description.slice(OURS.length));
  if (description.startsWith(OURS) && format > FORMAT) {
    throw new FaissVisionError(
      'ERR_GALLERY_VERSION',
      `${shown}: a newer faiss-vision made this gallery (format ${format}; this one knows up to ${FORMAT})`,
    );
  }
  if (!ours) {
    throw new FaissVisionError(
      'ERR_GALLERY_FOREIGN',
      `${shown}: this collection is another program's: its description is ${JSON.stringify(description)}`,
    );
  }
}
