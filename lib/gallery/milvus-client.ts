import { setTimeout as pause } from 'node:timers/promises';
import type { MilvusClient } from '@zilliz/milvus2-sdk-node';
import { FaissVisionError } from '../error';
import { invalid } from '../image/check';
import { type Answer, answerError, type Failure, failureOf, NOT_LOADED } from './milvus-errors';
import type { MilvusConnectionOptions, MilvusConsistency } from './milvus-options';
import { makeClient } from './milvus-sdk';
import type { MilvusPlace } from './milvus-url';

// The numbers of Milvus's ConsistencyLevel. Session is not among them: the SDK keeps no session's time, so it would be Eventually.
const LEVELS: Record<MilvusConsistency, number> = { Strong: 0, Bounded: 2, Eventually: 3 };

export function checkConsistency(level: unknown): MilvusConsistency {
  if (typeof level === 'string' && Object.hasOwn(LEVELS, level)) return level as MilvusConsistency;
  throw invalid('consistency', "'Strong', 'Bounded' or 'Eventually'", level);
}

export type Row = Record<string, unknown>;
type Rows = Answer & { data: Row[] };
type Found = Answer & { results: Row[] | Row[][] };

/** Milvus gives no longer answers to one question. */
export const MOST_ROWS = 16_384;

/** Rows of one answer, which Milvus limits to 100 MB: metadata have up to 64 KiB, thumbnails too. */
const PAGE = 500;
const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 3_000;
/** Below the 2 MiB that a message queue beneath Milvus takes as one message: what is one message is kept whole or not at all. */
const REQUEST_BYTES = 1_500_000;

/** What is asked of Milvus, with repeats of what may be repeated; every failure is a FaissVisionError. */
export class MilvusConnection {
  readonly #client: MilvusClient;
  readonly #place: MilvusPlace;
  readonly #retryFor: number;

  constructor(place: MilvusPlace, options: MilvusConnectionOptions) {
    const { timeout = 10_000, retryFor = 30_000 } = options;
    for (const [name, value] of Object.entries({ timeout, retryFor })) {
      if (!Number.isFinite(value) || value <= 0) throw invalid(name, 'a positive number of milliseconds', value);
    }
    this.#place = place;
    this.#retryFor = retryFor;
    this.#client = makeClient(place, options, timeout);
  }

  /** Asks until there is an answer, it is refused, or time is over. Only for what may happen twice. */
  async call<T extends Answer>(what: string, ask: (client: MilvusClient) => Promise<T>): Promise<T> {
    const begin = performance.now();
    for (let attempt = 1; ; attempt++) {
      let failure: Failure;
      try {
        const answer = await ask(this.#client);
        const refused = answerError(answer);
        if (refused === undefined) return answer;
        failure = refused;
      } catch (error) {
        failure = failureOf(error);
      }
      // Full jitter (aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter): not all clients at once when a server is back.
      const wait = Math.random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** attempt);
      const elapsed = performance.now() - begin;
      if (!failure.again || elapsed >= this.#retryFor) throw this.#error(what, failure, attempt, elapsed);
      await pause(Math.min(wait, this.#retryFor - elapsed));
    }
  }

  #error(what: string, { code, text, again, cause }: Failure, attempts: number, elapsed: number): FaissVisionError {
    const tried = again ? ` (${attempts} attempt${attempts === 1 ? '' : 's'} in ${(elapsed / 1000).toFixed(1)} s)` : '';
    return new FaissVisionError(code, `${this.#place.shown}: ${what}: ${text}${tried}`, { cause });
  }

  async collections(): Promise<string[]> {
    const { data } = await this.call('listing collections', (client) => client.showCollections());
    return data.map(({ name }) => name);
  }

  /**
   * Makes a collection, its indexes, and loads it; what of it is there already stays.
   * @param index one for each field that has one
   */
  async create(collection: string, description: string, { fields, index }: { fields: Row[]; index: Row[] }): Promise<void> {
    if (!(await this.collections()).includes(collection)) {
      try {
        await this.call(
          `making collection ${collection}`,
          (client) =>
            // One shard: a request that is spread over several is not kept whole.
            client.createCollection({
              collection_name: collection,
              description,
              fields: fields as never,
              shards_num: 1,
              consistency_level: 'Strong',
            }) as Promise<Answer>,
        );
      } catch (error) {
        // Another process may have done it at the same moment.
        if (!(await this.collections()).includes(collection)) throw error;
      }
    }
    const there = await this.call(`indexes of ${collection}`, (client) => client.listIndexes({ collection_name: collection }));
    for (const one of index) {
      if (there.indexes.includes(one['index_name'] as string)) continue;
      await this.call(
        `making index ${String(one['index_name'])} of ${collection}`,
        (client) => client.createIndex({ collection_name: collection, ...one } as never) as Promise<Answer>,
      );
    }
    await this.load(collection);
  }

  async drop(collection: string): Promise<void> {
    await this.call(`dropping collection ${collection}`, (client) => client.dropCollection({ collection_name: collection }));
  }

  async load(collection: string): Promise<void> {
    await this.call(`loading ${collection}`, (client) => client.loadCollectionAsync({ collection_name: collection }));
    const isLoaded = async () => {
      const { state } = await this.call(`loading ${collection}`, async (client) => {
        const answer = await client.getLoadState({ collection_name: collection });
        // As long as it gets on there is no hurry; otherwise it is one more reason to ask again, or to give up.
        if (answerError(answer) !== undefined || ['LoadStateLoaded', 'LoadStateLoading'].includes(answer.state)) return answer;
        return { ...answer, status: { error_code: 'NotLoaded', code: NOT_LOADED, reason: `it is in the state ${answer.state}` } };
      });
      return state === 'LoadStateLoaded';
    };
    while (!(await isLoaded())) await pause(FIRST_PAUSE);
  }

  async description(collection: string): Promise<{ description: string; fields: string[] }> {
    const { schema } = await this.call(`describing ${collection}`, (client) => client.describeCollection({ collection_name: collection }));
    return { description: schema.description, fields: schema.fields.map(({ name }) => name) };
  }

  /** What a field is searched by. */
  async index(collection: string, field: string): Promise<Record<string, unknown>> {
    const { index_descriptions: all } = await this.call(`indexes of ${collection}`, (client) =>
      client.describeIndex({ collection_name: collection }),
    );
    const params = all.find(({ field_name: name }) => name === field)?.params ?? [];
    return Object.fromEntries(params.map(({ key, value }) => [key, value]));
  }

  /** All rows of a condition in the order of the primary key, some at a time. */
  async *scan(
    collection: string,
    fields: string[],
    options: { key: string; filter?: string; after?: string; page?: number; level: MilvusConsistency },
  ): AsyncGenerator<Row[]> {
    const { key, filter, page = PAGE, level } = options;
    for (let after = options.after ?? ''; ;) {
      const { data } = await this.call(
        `reading ${collection}`,
        (client) =>
          client.query({
            collection_name: collection,
            filter: filter === undefined ? `${key} > "${after}"` : `(${filter}) and ${key} > "${after}"`,
            output_fields: fields,
            limit: page,
            consistency_level: LEVELS[level],
            // What makes a server answer in the order of the key; it may give fewer rows than there are.
            params: { iterator: 'True', reduce_stop_for_best: 'True' },
          } as never) as Promise<Rows>,
      );
      // A page that is not full is not the last for certain.
      if (data.length === 0) return;
      yield data;
      after = data.at(-1)![key] as string;
    }
  }

  /** All rows whose field has one of the values. */
  async rows(
    collection: string,
    fields: string[],
    options: { key: string; field: string; values: Iterable<string>; filter?: string; level: MilvusConsistency },
  ): Promise<Row[]> {
    const { key, field, filter, level } = options;
    const found: Row[] = [];
    for (const some of slices([...new Set(options.values)], 1_000)) {
      const among = oneOf(field, some);
      for await (const rows of this.scan(collection, fields, { key, filter: filter === undefined ? among : `${filter} and ${among}`, level })) {
        found.push(...rows);
      }
    }
    return found;
  }

  async count(collection: string, filter: string, level: MilvusConsistency): Promise<number> {
    const { data } = await this.call(
      `counting in ${collection}`,
      (client) =>
        client.query({ collection_name: collection, filter, output_fields: ['count(*)'], consistency_level: LEVELS[level] }) as Promise<Rows>,
    );
    return Number(data[0]?.['count(*)'] ?? 0);
  }

  /** The rows nearest to each query, best first. */
  async search(
    collection: string,
    queries: Float32Array[],
    options: { limit: number; filter: string | undefined; metric: string; params: Row; level: MilvusConsistency },
  ): Promise<Row[][]> {
    const { limit, filter, metric, params, level } = options;
    const answer = await this.call(
      `searching ${collection}`,
      (client) =>
        client.search({
          collection_name: collection,
          data: queries.map((query) => Array.from(query)),
          anns_field: 'features',
          limit,
          metric_type: metric,
          params,
          output_fields: ['id', 'person'],
          consistency_level: LEVELS[level],
          ...(filter !== undefined && { filter }),
        } as never) as unknown as Promise<Found>,
    );
    const lists = (queries.length === 1 ? [answer.results] : answer.results) as Row[][];
    return queries.map((_, i) => lists[i] ?? []);
  }

  /** Writes rows by their keys; what is repeated changes nothing. Each of the groups is kept whole where it fits into one request. */
  async upsert(collection: string, groups: Row[][]): Promise<void> {
    for (const data of requests(groups)) {
      await this.call(`writing to ${collection}`, (client) => client.upsert({ collection_name: collection, data } as never));
    }
  }

  async remove(collection: string, field: string, values: Iterable<string>): Promise<void> {
    for (const some of slices([...values], 1_000)) {
      await this.call(`removing from ${collection}`, (client) => client.delete({ collection_name: collection, filter: oneOf(field, some) }));
    }
  }

  async close(): Promise<void> {
    await this.#client.closeConnection();
  }
}

/** Values are ids and keys, which have no character that would have to be escaped. */
export function oneOf(field: string, values: readonly string[]): string {
  return values.length === 1 ? `${field} == "${values[0]}"` : `${field} in [${values.map((value) => `"${value}"`).join(', ')}]`;
}

export function slices<T>(values: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, i) => values.slice(i * size, (i + 1) * size));
}

/** Rows in requests of a size that Milvus keeps whole; a group is only divided where it is larger than that. */
function requests(groups: Row[][]): Row[][] {
  const made: Row[][] = [];
  let bytes = Infinity;
  const add = (rows: Row[], more: number) => {
    if (bytes + more > REQUEST_BYTES) {
      made.push([]);
      bytes = 0;
    }
    made.at(-1)!.push(...rows);
    bytes += more;
  };
  for (const rows of groups) {
    const sizes = rows.map(rowBytes);
    const all = sizes.reduce((sum, size) => sum + size, 0);
    if (all <= REQUEST_BYTES) add(rows, all);
    else rows.forEach((row, i) => add([row], sizes[i]!));
  }
  return made.filter((rows) => rows.length > 0);
}

/** About how many bytes a row is on the wire. */
function rowBytes(row: Row): number {
  return Object.values(row).reduce((sum: number, value) => {
    if (value instanceof Float32Array) return sum + value.byteLength;
    return sum + (typeof value === 'object' ? Buffer.byteLength(JSON.stringify(value)) : String(value).length) + 16;
  }, 0);
}
