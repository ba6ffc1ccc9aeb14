import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { BinaryIndex, Index, type Filter } from 'faiss-vision/ann';
import { afterAll, describe, expect, it } from 'vitest';

// Random sequences of operations against the plainest model of an index: a list of ids and vectors.

const D = 4; // numbers, or bytes, of a vector
type Numbers = Float32Array | Uint8Array;

interface Kind {
  name: string;
  /** Ids of the caller's own, or positions. */
  ownIds: boolean;
  /** Whether a search by radius and a filter are there. */
  whole: boolean;
  make(): Promise<Index | BinaryIndex>;
  again(bytes: Uint8Array | string): Promise<Index | BinaryIndex>;
  vectors(numbers: number[]): Numbers;
  distance(a: Numbers, b: Numbers): number;
}

const l2 = (a: Numbers, b: Numbers) => a.reduce((sum: number, x: number, i: number) => sum + (x - b[i]!) ** 2, 0) as number;
const hamming = (a: Numbers, b: Numbers) => {
  let bits = 0;
  for (let i = 0; i < a.length; i++) for (let x = a[i]! ^ b[i]!; x > 0; x >>= 1) bits += x & 1;
  return bits;
};
const floats = { vectors: (numbers: number[]) => Float32Array.from(numbers, (x) => x / 2 - 4), distance: l2 };
const bits = { vectors: (numbers: number[]) => Uint8Array.from(numbers, (x) => x * 15), distance: hamming };
const open = { again: (from: Uint8Array | string) => (typeof from === 'string' ? Index.load(from) : Index.fromBuffer(from)) };
const openBinary = { again: (from: Uint8Array | string) => (typeof from === 'string' ? BinaryIndex.load(from) : BinaryIndex.fromBuffer(from)) };

const kinds: Kind[] = [
  { name: 'Flat', ownIds: false, whole: true, ...floats, ...open, make: async () => Index.factory(D, 'Flat') },
  { name: 'IDMap2,Flat', ownIds: true, whole: true, ...floats, ...open, make: async () => Index.factory(D, 'IDMap2,Flat') },
  {
    name: 'IVF4,Flat, all lists',
    ownIds: true,
    whole: true,
    ...floats,
    ...open,
    async make() {
      const index = Index.factory(D, 'IVF4,Flat');
      await index.train(floats.vectors(Array.from({ length: 160 * D }, (_, i) => (i * 7919) % 17)));
      await index.set('nprobe', 4);
      return index;
    },
  },
  { name: 'BFlat', ownIds: false, whole: false, ...bits, ...openBinary, make: async () => BinaryIndex.factory(D * 8, 'BFlat') },
  { name: 'IDMap2,BFlat', ownIds: true, whole: false, ...bits, ...openBinary, make: async () => BinaryIndex.factory(D * 8, 'IDMap2,BFlat') },
];

const vector = fc.array(fc.integer({ min: 0, max: 16 }), { minLength: D, maxLength: D });
const some = fc.array(vector, { minLength: 1, maxLength: 6 }).map((list) => list.flat());
const ids = fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 6 });
const filter: fc.Arbitrary<Filter | undefined> = fc.option(
  fc.oneof(
    ids.map((keep) => ({ keep })),
    ids.map((leaveOut) => ({ leaveOut })),
    fc.tuple(fc.nat(20), fc.nat(20)).map(([from, to]) => ({ keep: { from, to } })),
    fc.uint8Array({ maxLength: 5 }).map((leaveOut) => ({ leaveOut })),
  ),
  { nil: undefined },
);
const operation = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('add' as const), numbers: some }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('search' as const), numbers: some, k: fc.integer({ min: 1, max: 12 }), filter, sync: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('range' as const), numbers: some, radius: fc.nat(60), filter }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('remove' as const), ids }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reconstruct' as const), at: fc.nat(40) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('merge' as const), numbers: some }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('reset' as const, 'file' as const, 'buffer' as const) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

const path = join(tmpdir(), `faiss-vision-model-${process.pid}`);
afterAll(() => rmSync(path, { force: true }));

class Model {
  #ids: number[] = [];
  #vectors: Numbers[] = [];
  #next = 0;
  readonly #checks: Promise<unknown>[] = [];

  constructor(readonly kind: Kind, public index: Index | BinaryIndex) {}

  async step(operation: Operation): Promise<void> {
    const { kind } = this;
    const index = this.index as Index; // or a BinaryIndex, with bytes
    switch (operation.do) {
      case 'add': {
        const x = kind.vectors(operation.numbers);
        this.#checks.push(index.add(x as Float32Array, this.#take(x)));
        break;
      }
      case 'search': {
        const x = kind.vectors(operation.numbers) as Float32Array;
        const passes = this.#filterOf(operation.filter);
        const options = operation.filter === undefined || !kind.whole ? {} : { filter: operation.filter };
        const expected = rows(x).map((query) => this.#nearest(query, passes));
        const check = ({ distances, labels }: { distances: Numbers | Int32Array; labels: BigInt64Array }) =>
          expected.forEach((all, i) => this.#compare(all, operation.k, distances, labels, i * operation.k));
        if (operation.sync) check(index.searchSync(x, operation.k, options));
        else this.#checks.push(index.search(x, operation.k, options).then(check));
        break;
      }
      case 'range': {
        const x = kind.vectors(operation.numbers) as Float32Array;
        const passes = this.#filterOf(operation.filter);
        const options = operation.filter === undefined || !kind.whole ? {} : { filter: operation.filter };
        const expected = rows(x).map((query) => this.#nearest(query, passes).filter(({ distance }) => distance < operation.radius));
        this.#checks.push(
          index.rangeSearch(x, operation.radius, options).then(({ limits, distances, labels }) =>
            expected.forEach((all, i) => {
              const found = Array.from({ length: limits[i + 1]! - limits[i]! }, (_, j) => limits[i]! + j)
                .map((at) => ({ id: Number(labels[at]), distance: distances[at]! }))
                .sort((a, b) => a.id - b.id);
              expect(found.map(({ id }) => id)).toEqual(all.map(({ id }) => id).sort((a, b) => a - b));
            }),
          ),
        );
        break;
      }
      case 'remove': {
        const wanted = new Set(operation.ids);
        const kept = this.#ids.map((id, i) => !wanted.has(id) && i);
        const before = this.#ids.length;
        this.#vectors = this.#vectors.filter((_, i) => kept[i] !== false);
        this.#ids = kind.ownIds ? this.#ids.filter((_, i) => kept[i] !== false) : this.#vectors.map((_, i) => i);
        const removed = before - this.#ids.length;
        this.#checks.push(index.remove(operation.ids).then((count) => expect(count).toBe(removed)));
        break;
      }
      case 'reconstruct': {
        const at = this.#ids.indexOf(operation.at);
        const expected = at < 0 ? undefined : this.#vectors[at]!;
        this.#checks.push(
          expected === undefined
            ? expect(index.reconstruct(operation.at)).rejects.toMatchObject({ code: 'ERR_UNKNOWN_ID' })
            : index.reconstruct(operation.at).then((x) => expect(x).toEqual(expected)),
        );
        break;
      }
      case 'merge': {
        if (kind.name.includes('BFlat')) break; // FAISS merges no flat binary indexes
        const other = (await kind.again(await index.toBuffer())) as Index;
        await other.reset();
        const x = kind.vectors(operation.numbers) as Float32Array;
        const given = this.#take(x);
        void other.add(x, given);
        this.#checks.push(index.mergeFrom(other).then(() => expect(other.ntotal).toBe(0)));
        break;
      }
      case 'reset':
        this.#ids = [];
        this.#vectors = [];
        this.#checks.push(index.reset());
        break;
      case 'file':
        await index.save(path);
        await this.settled();
        this.index = await kind.again(path);
        if (this.kind.name.startsWith('IVF')) expect(await this.index.get('nprobe')).toBe(4);
        break;
      default:
        this.index = await kind.again(await index.toBuffer());
    }
  }

  async settled(): Promise<void> {
    await Promise.all(this.#checks);
    expect(this.index.ntotal).toBe(this.#ids.length);
  }

  /** Notes vectors down and gives the ids to add them by. */
  #take(x: Numbers): number[] | undefined {
    const given = rows(x).map((row) => {
      const id = this.kind.ownIds ? this.#next++ : this.#ids.length;
      this.#ids.push(id);
      this.#vectors.push(row);
      return id;
    });
    return this.kind.ownIds ? given : undefined;
  }

  #filterOf(filter: Filter | undefined): (id: number) => boolean {
    if (filter === undefined || !this.kind.whole) return () => true;
    const set = (filter.keep ?? filter.leaveOut)!;
    const kept = filter.keep !== undefined;
    if (set instanceof Uint8Array) return (id) => (((set[id >> 3] ?? 0) >> (id & 7)) & 1) === Number(kept);
    if (Array.isArray(set)) return (id) => set.includes(id) === kept;
    const { from, to } = set as { from: number; to: number };
    return (id) => (from <= id && id < to) === kept;
  }

  #nearest(query: Numbers, passes: (id: number) => boolean) {
    return this.#ids
      .map((id, i) => ({ id, distance: this.kind.distance(query, this.#vectors[i]!) }))
      .filter(({ id }) => passes(id))
      .sort((a, b) => a.distance - b.distance);
  }

  /** Same distances, and labels that have them: equal distances may come in any order. */
  #compare(all: { id: number; distance: number }[], k: number, distances: Numbers | Int32Array, labels: BigInt64Array, begin: number) {
    const byId = new Map(all.map(({ id, distance }) => [id, distance]));
    const found = Array.from(labels.subarray(begin, begin + k), Number);
    const count = Math.min(k, all.length);
    expect(found.slice(count)).toEqual(Array(k - count).fill(-1));
    expect(new Set(found.slice(0, count)).size).toBe(count);
    for (let j = 0; j < count; j++) {
      expect(Math.abs(distances[begin + j]! - all[j]!.distance)).toBeLessThan(1e-4);
      expect(Math.abs(byId.get(found[j]!)! - all[j]!.distance)).toBeLessThan(1e-4);
    }
  }
}

const rows = (x: Numbers) => Array.from({ length: x.length / D }, (_, i) => x.slice(i * D, (i + 1) * D));

describe.each(kinds)('$name', (kind) => {
  it.each([
    ['one after the other', true],
    ['called without waiting', false],
  ])('does what the model does, %s', { timeout: 240_000 }, async (_, waits) => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 16 }), async (operations) => {
        const model = new Model(kind, await kind.make());
        for (const each of operations) {
          await model.step(each);
          if (waits) await model.settled();
        }
        await model.settled();
        await model.index.close();
      }),
      { numRuns: 400 },
    );
  });
});
