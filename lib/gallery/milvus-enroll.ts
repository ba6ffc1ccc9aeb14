import { FaissVisionError } from '../error';
import { nameTaken } from './database';
import { type MilvusConnection, type Row, slices } from './milvus-client';
import type { MilvusPeople } from './milvus-people';
import { faceRow, noteRow, personRow } from './milvus-schema';
import type { Enrolled, Enrolment, EnrollOptions } from './store';
import type { Person } from './types';

/** People in one note: their ids are in a JSON field, which has room for 64 KiB. */
const NOTED = 900;

interface Plan {
  /** Who has to be made. */
  made: Person[];
  /** Each enrolment's. */
  faces: Row[][];
  /** Faces that people who are to be made have from an attempt that ended in the middle. */
  strangers: string[];
  enrolled: Enrolled[];
}

/**
 * Milvus has no transactions. The faces are written first; a new person is there once their own row is, and a person's new faces are
 * one request.
 * @param checkModel throws where these are no longer the faces of the gallery
 */
export async function enroll(
  connection: MilvusConnection,
  people: MilvusPeople,
  faces: string,
  enrolments: readonly Enrolment[],
  options: EnrollOptions,
  checkModel: () => Promise<void>,
): Promise<Enrolled[]> {
  const written = new Set<string>();
  for (;;) {
    const plan = await makePlan(connection, people, faces, enrolments, options, written);
    const notes = slices(
      plan.made.map(({ id }) => id),
      NOTED,
    ).map(noteRow);
    await connection.upsert(people.collection, [notes]);
    await connection.remove(faces, 'id', plan.strangers);
    await connection.upsert(faces, plan.faces);
    for (const { id } of plan.faces.flat()) written.add(id as string);
    const write = () =>
      connection.upsert(
        people.collection,
        plan.made.map((person) => [personRow(person, 1)]),
      );
    const isClaimed =
      plan.made.length === 0 ||
      (await people.claim(
        plan.made.map(({ name }) => name),
        write,
      ));
    // Nobody else has added faces to people who were never there.
    if (!isClaimed) {
      await people.removeFaces(
        'person',
        plan.made.map(({ id }) => id),
      );
    }
    const [removed] = await Promise.all([removedMeanwhile(people, plan), checkModel()]);
    if (removed.length > 0) await people.removeFaces('person', removed);
    const isDone = isClaimed && removed.length === 0;
    await connection.remove(
      people.collection,
      'key',
      notes.map(({ key }) => key as string),
    );
    if (isDone) return plan.enrolled;
  }
}

/** Who was there when faces were to be added, and was removed by another process before they were. */
async function removedMeanwhile(people: MilvusPeople, { made, faces }: Plan): Promise<string[]> {
  const mine = new Set(made.map(({ id }) => id));
  const others = new Set(
    faces
      .flat()
      .map(({ person }) => person as string)
      .filter((id) => !mine.has(id)),
  );
  const there = await people.byId(others, 'Strong');
  return [...others].filter((id) => !there.has(id));
}

/** What there is to be written, as things are at this moment. */
async function makePlan(
  connection: MilvusConnection,
  people: MilvusPeople,
  collection: string,
  enrolments: readonly Enrolment[],
  { sameName }: EnrollOptions,
  written: Set<string>,
): Promise<Plan> {
  const ids = enrolments.map(({ id }) => id);
  const faceIds = enrolments.flatMap(({ faces }) => faces.map(({ id }) => id));
  const [byId, named, sameFaces] = await Promise.all([
    people.byId(ids, 'Strong'),
    people.byName(
      enrolments.map(({ name }) => name),
      'Strong',
    ),
    connection.rows(collection, ['id', 'person'], { key: 'id', field: 'id', values: faceIds, level: 'Strong' }),
  ]);
  const byName = new Map(named.map((person) => [person.name, person]));
  const owners = new Map(sameFaces.map(({ id, person }) => [id as string, person as string]));
  const there = new Set((await people.byId(owners.values(), 'Strong')).keys());
  const absent = ids.filter((id) => !byId.has(id));
  const sameOwner = await connection.rows(collection, ['id', 'person'], { key: 'id', field: 'person', values: absent, level: 'Strong' });

  const plan: Plan = { made: [], faces: [], strangers: [], enrolled: [] };
  const now = Date.now();
  for (const { id, name, faces, metadata = {}, created = new Date(now), updated = created } of enrolments) {
    let person = byId.get(id);
    const isNew = person === undefined && !byName.has(name);
    if (person === undefined) {
      const other = byName.get(name);
      if (other !== undefined && sameName === 'refuse') throw nameTaken(name, other.id);
      person = other ?? { id, name, metadata, created, updated };
    }
    if (isNew) {
      plan.made.push(person);
      byId.set(id, person);
      byName.set(name, person);
    }
    const keeps = person.id;
    const rows: Row[] = [];
    const added = faces.filter((face) => {
      const owner = owners.get(face.id);
      if (owner !== undefined && owner !== keeps && there.has(owner)) {
        throw new FaissVisionError('ERR_ID_TAKEN', `the face id ${face.id} is another person's; ${keeps} cannot have it`);
      }
      // A face of an attempt before this one counts as new, and is written again where it was withdrawn.
      if (owner === keeps && there.has(owner)) return written.has(face.id);
      owners.set(face.id, keeps);
      rows.push(faceRow({ ...face, person: keeps }, nextSequence()));
      return true;
    });
    plan.faces.push(rows);
    there.add(keeps);
    plan.enrolled.push({ person, created: isNew, added: added.length });
  }
  const made = new Set(plan.made.map(({ id }) => id));
  const planned = new Set(plan.faces.flat().map(({ id }) => id));
  plan.strangers = sameOwner.filter(({ id, person }) => made.has(person as string) && !planned.has(id)).map(({ id }) => id as string);
  return plan;
}

let sequence = 0;

/** Grows with time, and within a millisecond too. */
function nextSequence(): number {
  sequence = Math.max(sequence + 1, Date.now() * 1024);
  return sequence;
}
