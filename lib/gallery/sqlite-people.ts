import { rmSync } from 'node:fs';
import { FaissVisionError } from '../error';
import { passes } from './checks';
import { labelOf, nameTaken, PAGE } from './database';
import { indexEntryOf, pieceOf, pieceOfJpeg, rowOf } from './remnants';
import { FACE, type FaceRow, type GalleryFile } from './sqlite-file';
import type { Enrolled, Enrolment, EnrollOptions, Entry, ListOptions, NewFace, Page } from './store';
import type { GalleryFace, ListedPerson, Metadata, MetadataFilter, Person, StoredFace } from './types';

interface PersonRow {
  number: number;
  id: string;
  name: string;
  metadata: string;
  created: number;
  updated: number;
  faces: number;
}

const PERSON = 'number, id, name, metadata, created, updated, (SELECT count(*) FROM faces WHERE person = people.number) AS faces';

/** People and faces in the file. What changes something is called within `GalleryFile.write`. */
export class People {
  readonly #file: GalleryFile;

  constructor(file: GalleryFile) {
    this.#file = file;
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
      if (created || added > 0) this.#file.changed();
      return { person: personFrom(row), created, added };
    });
  }

  #makePerson({ id, name, metadata = {}, created = new Date(), updated = created }: Enrolment): PersonRow {
    this.#file.run(
      'INSERT INTO people (id, name, metadata, created, updated) VALUES (?, ?, ?, ?, ?)',
      id,
      name,
      JSON.stringify(metadata),
      +created,
      +updated,
    );
    return this.#person({ id })!;
  }

  #addFace(person: number, personId: string, face: NewFace): boolean {
    const { id, created, box, score, features, thumbnail } = face;
    const there = this.#file.get('SELECT person FROM faces WHERE id = ?', id) as { person: number } | undefined;
    if (there?.person === person) return false;
    if (there !== undefined) throw new FaissVisionError('ERR_ID_TAKEN', `the face id ${id} is another person's; ${personId} cannot have it`);
    const { lastInsertRowid: number } = this.#file.run(
      'INSERT INTO faces (id, person, model, created, x, y, width, height, score, features) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      ...[id, person, this.#file.model, +created, box?.x ?? null, box?.y ?? null, box?.width ?? null, box?.height ?? null, score ?? null],
      this.#file.packed(features, id),
    );
    if (Number(number) > 0xffffffff) throw new FaissVisionError('ERR_GALLERY_FULL', `${this.#file.path}: all 2^32 face numbers are used`);
    if (thumbnail !== undefined)
      this.#file.run('INSERT INTO thumbnails VALUES (?, ?)', number, this.#file.sealer?.seal(thumbnail, `thumbnail ${id}`) ?? thumbnail);
    return true;
  }

  person(key: { id: string } | { name: string }): ListedPerson | undefined {
    const row = this.#person(key);
    return row && listed(row);
  }

  list({ cursor, limit, filter }: ListOptions): Page<ListedPerson> {
    const items: ListedPerson[] = [];
    for (const row of this.#file.each(`SELECT ${PERSON} FROM people WHERE name > ? ORDER BY name`, cursor ?? '') as Iterable<PersonRow>) {
      const person = listed(row);
      if (filter !== undefined && !passes(filter, person.metadata)) continue;
      if (items.length === limit) return { items, next: items.at(-1)!.name };
      items.push(person);
    }
    return { items };
  }

  faces(person: string): GalleryFace[] {
    const rows = this.#file.all(
      `SELECT ${FACE} FROM faces JOIN people ON people.number = person LEFT JOIN thumbnails ON face = faces.number
       WHERE people.id = ? ORDER BY faces.number`,
      person,
    ) as FaceRow[];
    return rows.map((row) => this.#file.faceFrom(row, person));
  }

  update(id: string, { name, metadata }: { name?: string; metadata?: Metadata }): Person {
    const row = this.#person({ id });
    if (row === undefined) throw new FaissVisionError('ERR_PERSON_UNKNOWN', `nobody has the id ${id}`);
    const other = name === undefined ? undefined : this.#person({ name });
    if (other !== undefined && other.id !== id) throw nameTaken(name!, other.id);
    const text = metadata === undefined ? row.metadata : JSON.stringify(metadata);
    this.#file.run('UPDATE people SET name = ?, metadata = ?, updated = ? WHERE number = ?', name ?? row.name, text, Date.now(), row.number);
    this.#file.changed();
    this.#file.forget(rowOf(id, row.name, row.metadata)); // the former name is personal too
    if (name !== undefined && name !== row.name) this.#file.forget(indexEntryOf(row.name, row.number));
    return personFrom(this.#person({ id })!);
  }

  removePerson(id: string): number | undefined {
    const row = this.#person({ id });
    if (row === undefined) return undefined;
    this.#noteRemoval('person = ?', row.number);
    this.#file.forget(rowOf(id, row.name, row.metadata), indexEntryOf(row.name, row.number));
    this.#file.run('DELETE FROM people WHERE number = ?', row.number); // and what refers to it
    return row.faces;
  }

  removeFace(id: string): boolean {
    const row = this.#file.get('SELECT number FROM faces WHERE id = ?', id) as { number: number } | undefined;
    if (row === undefined) return false;
    this.#noteRemoval('number = ?', row.number);
    this.#file.run('DELETE FROM faces WHERE number = ?', row.number);
    return true;
  }

  /** Notes which faces go, and takes away the index's file first: a kill in between must not leave their features in it. */
  #noteRemoval(which: string, number: number): void {
    this.#file.changed();
    const rows = this.#file.all(`SELECT features, jpeg FROM faces LEFT JOIN thumbnails ON face = number WHERE ${which}`, number) as FaceRow[];
    for (const { features, jpeg } of rows) this.#file.forget(pieceOf(features), ...(jpeg === null ? [] : pieceOfJpeg(jpeg)));
    rmSync(`${this.#file.path}.index`, { force: true });
    this.#file.run(`INSERT INTO removals SELECT number, person, (SELECT changes FROM gallery) FROM faces WHERE ${which}`, number);
  }

  /** The labels of the faces of those whose metadata pass, or of those people. */
  labels(filter: MetadataFilter | undefined, people: readonly string[] | undefined): BigInt64Array {
    const labels: bigint[] = [];
    const add = (person: number) => {
      for (const face of this.#file.pluck('SELECT number FROM faces WHERE person = ?').iterate(person) as Iterable<number>)
        labels.push(labelOf(person, face));
    };
    const passing = ({ metadata }: PersonRow) => filter === undefined || passes(filter, JSON.parse(metadata) as Metadata);
    if (people === undefined) {
      const all = this.#file.all('SELECT number, metadata FROM people') as PersonRow[];
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
    for (const person of this.#file.all(`SELECT ${PERSON} FROM people WHERE name > ? ORDER BY name LIMIT 256`, after) as PersonRow[]) {
      const rows = this.#file.all(
        `SELECT ${FACE}, features FROM faces LEFT JOIN thumbnails ON face = number WHERE person = ? ORDER BY number`,
        person.number,
      ) as FaceRow[];
      entries.push({
        person: personFrom(person),
        faces: rows.map((row): StoredFace => ({ ...this.#file.faceFrom(row, person.id), features: this.#file.featuresOf(row) })),
      });
      faces += rows.length;
      if (faces >= PAGE) break;
    }
    return entries;
  }

  counts(): { people: number; faces: number } {
    return this.#file.get('SELECT (SELECT count(*) FROM people) AS people, (SELECT count(*) FROM faces) AS faces') as {
      people: number;
      faces: number;
    };
  }

  #person(key: { id: string } | { name: string }): PersonRow | undefined {
    const [column, value] = 'id' in key ? ['id', key.id] : ['name', key.name];
    return this.#file.get(`SELECT ${PERSON} FROM people WHERE ${column} = ?`, value) as PersonRow | undefined;
  }
}

function personFrom({ id, name, metadata, created, updated }: PersonRow): Person {
  return { id, name, metadata: JSON.parse(metadata) as Metadata, created: new Date(created), updated: new Date(updated) };
}

const listed = (row: PersonRow): ListedPerson => ({ ...personFrom(row), faces: row.faces });
