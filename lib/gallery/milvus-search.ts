import { passes } from './checks';
import { type MilvusConnection, MOST_ROWS, oneOf, type Row, slices } from './milvus-client';
import type { MilvusConsistency } from './milvus-options';
import type { MilvusPeople } from './milvus-people';
import { expression, type GalleryRecord, IS_PERSON, metricOf, newest, PEOPLE_FIELDS, readPerson, scoreOf } from './milvus-schema';
import type { SearchOptions } from './store';
import type { Match, Metadata, Person } from './types';

interface How extends SearchOptions {
  top: number;
  level: MilvusConsistency;
  /** Of the index. */
  params: Row;
}

/** Queries in one request: each answer may be as long as Milvus gives any. */
const QUERIES = 100;
/** People in one condition. */
const AMONG = 5_000;

/** The people nearest to each query, by the nearest of their faces. */
export async function search(
  connection: MilvusConnection,
  people: MilvusPeople,
  record: GalleryRecord,
  features: Float32Array,
  how: How,
): Promise<Match[][]> {
  const { dimension } = record.mark;
  const { top, filter, level, signal } = how;
  const queries = Array.from({ length: features.length / dimension }, (_, i) => features.subarray(i * dimension, (i + 1) * dimension));
  const among = await peopleAmong(connection, people, how);
  const known = new Map<string, Person | undefined>();
  const isThere = (person: Person | undefined): person is Person => person !== undefined && (filter === undefined || passes(filter, person.metadata));

  /** The nearest face of each person, for each query, among those that a condition lets through. */
  const nearest = async (some: Float32Array[], clause: string | undefined): Promise<Match[][]> => {
    const found = some.map(() => new Map<string, Match>());
    let open = some.map((_, i) => i);
    for (let limit = Math.min(MOST_ROWS, Math.max(16, top * 4)); open.length > 0; limit = Math.min(MOST_ROWS, limit * 8)) {
      signal?.throwIfAborted();
      const round = open.map((i) => ({ i, skip: limit === MOST_ROWS ? [...found[i]!.keys()] : [] }));
      // A long answer without enough people in it: those who are found are left out of the next.
      const together = round.every(({ skip }) => skip.length === 0) ? [round] : round.map((one) => [one]);
      const still: number[] = [];
      for (const group of together) {
        const without = group[0]!.skip.length === 0 ? undefined : `person not in [${group[0]!.skip.map((id) => `"${id}"`).join(', ')}]`;
        const condition = [clause, without].filter((one) => one !== undefined).join(' and ');
        const lists = await connection.search(
          record.faces,
          group.map(({ i }) => some[i]!),
          {
            limit,
            filter: condition === '' ? undefined : condition,
            metric: metricOf(record.mark),
            params: how.params,
            level,
          },
        );
        const unknown = new Set(
          lists
            .flat()
            .map(({ person }) => person as string)
            .filter((id) => !known.has(id)),
        );
        const looked = await people.byId(unknown, level);
        for (const id of unknown) known.set(id, looked.get(id));
        group.forEach(({ i }, at) => {
          const before = found[i]!.size;
          for (const { id, person: owner, score } of lists[at]!) {
            const person = known.get(owner as string);
            // Faces without a person are those of somebody who is being made or removed.
            if (!isThere(person) || found[i]!.has(person.id)) continue;
            found[i]!.set(person.id, { person, face: id as string, score: scoreOf(record.mark, score as number) });
          }
          const goesOn = lists[at]!.length === limit && found[i]!.size < top && (limit < MOST_ROWS || found[i]!.size > before);
          if (goesOn) still.push(i);
        });
      }
      open = still;
    }
    return found.map((matches) => best([...matches.values()], top, record.mark.metric));
  };

  const conditions = among === undefined ? [undefined] : slices(among, AMONG).map((ids) => oneOf('person', ids));
  const answers: Match[][] = [];
  for (const some of slices(queries, QUERIES)) {
    const parts: Match[][][] = [];
    for (const condition of conditions) parts.push(await nearest(some, condition));
    answers.push(
      ...some.map((_, i) =>
        best(
          parts.flatMap((part) => part[i]!),
          top,
          record.mark.metric,
        ),
      ),
    );
  }
  return answers;
}

function best(matches: Match[], top: number, metric: 'l2' | 'cosine'): Match[] {
  const sign = metric === 'l2' ? 1 : -1;
  return matches.sort((a, b) => sign * (a.score - b.score)).slice(0, top);
}

/** Who may be found: undefined for everybody. */
async function peopleAmong(connection: MilvusConnection, people: MilvusPeople, { filter, people: ids, level }: How): Promise<string[] | undefined> {
  if (filter === undefined) return ids === undefined ? undefined : [...new Set(ids)];
  const wanted = ids === undefined ? undefined : new Set(ids);
  const passed = new Map<string, Metadata>();
  const condition = expression(filter);
  for await (const rows of connection.scan(people.collection, PEOPLE_FIELDS, {
    key: 'key',
    filter: condition === IS_PERSON ? IS_PERSON : condition,
    level,
  })) {
    for (const { id, metadata } of newest(rows).map(readPerson)) {
      if (passes(filter, metadata) && (wanted === undefined || wanted.has(id))) passed.set(id, metadata);
    }
  }
  return [...passed.keys()];
}
