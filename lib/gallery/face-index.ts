import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { Index } from '../ann';
import { FaissVisionError } from '../error';
import { type FacePage, type IndexSource, type Moment, personOf, type SnapshotAbout } from './database';
import type { ModelMark } from './types';

export interface FaceIndexOptions {
  index: string;
  exact: 'bounded' | 'plain' | undefined;
  flatUpTo: number;
}

/** A person's nearest face, by its label. */
export interface Neighbour {
  label: bigint;
  score: number;
}

/** Reads faces by number, behind `after` and up to `last`. */
export type ReadPage = (after: number, last: number) => Promise<FacePage & { next: number }>;

/** Exact, with labels as ids. */
const FLAT = 'IDMap,Flat';
/** Up to so many numbers a copy in bytes, 27 % more memory, makes flat search several times faster (docs/exact-search.md). */
const BOUNDED_NUMBERS = 2 ** 25;
/** Faces whose nearest others the recall is measured by. */
const SAMPLE = 512;
const RECALL = 0.99;
const NPROBES = [4, 8, 16, 32, 64, 128, 256];
/** Vectors for each list when an IVF is trained; FAISS warns below 39. */
const TRAINING = 48;
/** An index that cannot remove is built anew once so large a part of it is gone. */
const GONE = 0.05;

/** What is searched by, and why. */
export interface IndexAbout {
  /** FAISS's factory string. */
  index: string;
  exact?: 'bounded' | 'plain';
  faces: number;
  bytes: number;
  /** How it was made: from the database, or read from its file. */
  from: 'database' | 'snapshot';
  /** Lists that a search looks through, where there are lists. */
  nprobe?: number;
  /** Of the gallery's own faces, how many had the same nearest other face as in exact search; not there where search is exact. */
  recall?: number;
  /** Whether another one is being built. */
  building: boolean;
}

interface Kind {
  description: string;
  exact: 'bounded' | 'plain';
}

/**
 * The FAISS index over a gallery's faces. It holds labels and vectors only, and is always as of one moment of the database: calls
 * take effect in their order, so a search sees what was added or removed before it, and nothing else.
 */
export class FaceIndex {
  readonly #mark: ModelMark;
  readonly #options: FaceIndexOptions;
  readonly #read: ReadPage;
  #index: Index;
  #kind: Kind;
  #moment: Moment = { changes: 0, face: 0 };
  /** Faces, with those that are still on their way into the index. */
  #size = 0;
  #from: IndexAbout['from'] = 'database';
  #buildError: unknown;
  #nprobe: number | undefined;
  #recall: number | undefined;
  /** Removed, but still in an index that cannot remove. */
  #gone = new Set<bigint>();
  /** What has happened since the one that is being built began. */
  #missed: (() => void)[] | undefined;
  #next: Index | undefined;
  #building: Promise<void> | undefined;
  #broken: unknown;
  #closed = false;

  constructor(mark: ModelMark, options: FaceIndexOptions, read: ReadPage) {
    this.#mark = mark;
    this.#options = options;
    this.#read = read;
    this.#kind = this.#choose(0);
    this.#index = this.#make(this.#kind);
  }

  get from(): IndexAbout['from'] {
    return this.#from;
  }

  /** What the index has. */
  get moment(): Moment {
    return this.#moment;
  }

  /** Takes all faces over: from its file where that is the one the database knows, and what came later from the database. */
  async load(source: IndexSource, file: string): Promise<void> {
    let after = 0;
    const { about, face } = source.snapshot ?? {};
    const exact = this.#flat(source.faces).exact;
    // Whatever is wrong with a file, the database has the same.
    const saved = about === undefined || checksumOf(file) !== about.checksum ? undefined : await Index.load(file, { exact }).catch(() => undefined);
    await this.#index.close();
    if (saved === undefined) {
      // What has to be trained is built in the background; a flat index answers at once.
      this.#kind = this.#flat(source.faces);
      this.#index = this.#make(this.#kind);
    } else {
      this.#index = saved;
      this.#kind = { description: about!.description, exact };
      [this.#nprobe, this.#recall, this.#from] = [about!.nprobe, about!.recall, 'snapshot'];
      after = face!;
      this.#remove(source.removed);
    }
    await this.#fill(this.#index, after, source.moment.face);
    this.#size = source.faces;
    this.#moment = source.moment;
    this.#grow();
  }

  async #fill(index: Index, after: number, last: number): Promise<void> {
    // The next page is read while this one is added.
    let page = this.#read(after, last);
    for (;;) {
      const { labels, features, next } = await page;
      const more = labels.length > 0 && next < last && !this.#closed;
      if (more) page = this.#read(next, last);
      if (labels.length > 0) await index.add(features, labels);
      if (!more) return;
    }
  }

  /** Takes over what is new; searches from here on see it. */
  apply(added: FacePage, removed: BigInt64Array, moment: Moment): void {
    this.#moment = moment;
    if (added.labels.length > 0) {
      this.#size += added.labels.length;
      this.#both((index) => void index.add(added.features, added.labels).catch((error: unknown) => (this.#broken ??= error)));
    }
    if (removed.length > 0) this.#remove(removed);
    this.#grow();
  }

  #both(work: (index: Index) => void): void {
    work(this.#index);
    this.#missed?.push(() => work(this.#next!));
  }

  #remove(removed: BigInt64Array): void {
    this.#size -= removed.length;
    this.#both((index) => {
      void index.remove(removed).catch((error: unknown) => {
        if ((error as FaissVisionError).code === 'ERR_UNSUPPORTED') removed.forEach((label) => this.#gone.add(label));
        else this.#broken ??= error;
      });
    });
  }

  /**
   * For each of n faces up to `top` people by their nearest face. Neighbours are faces, so more are asked for until so many people
   * are among them.
   */
  async nearest(x: Float32Array, top: number, keep: BigInt64Array | undefined, signal: AbortSignal | undefined): Promise<Neighbour[][]> {
    for (let k = top === 1 ? 1 : top * 4; ; k *= 4) {
      if (this.#broken !== undefined) throw this.#broken;
      const index = this.#index;
      const total = keep?.length ?? this.#size;
      const options = {
        ...(keep === undefined ? (this.#gone.size > 0 ? { filter: { leaveOut: [...this.#gone] } } : {}) : { filter: { keep } }),
        ...(signal === undefined ? {} : { signal }),
      };
      const { distances, labels } = await (Object.keys(options).length > 0 ? index.search(x, k, options) : index.search(x, k));
      const found = grouped(distances, labels, k, top, this.#mark.metric === 'l2');
      if (k >= total || found.every(({ length }) => length === top)) return found;
    }
  }

  /** Builds another kind of index in the background where the number of faces asks for one. */
  #grow(): void {
    if (this.#building !== undefined || this.#closed) return;
    const faces = this.#size;
    const kind = this.#choose(faces);
    const another = kind.description !== this.#kind.description || (kind.exact !== this.#kind.exact && kind.description === FLAT);
    if (!another && this.#gone.size <= faces * GONE) return;
    this.#building = this.#rebuild(kind)
      .catch((error: unknown) => {
        // Searches go on with the one there is; the next change tries again.
        this.#buildError = error;
      })
      .finally(() => {
        this.#missed = this.#next = this.#building = undefined;
      });
  }

  async #rebuild(kind: Kind): Promise<void> {
    const { face } = this.#moment;
    this.#missed = [];
    const next = (this.#next = this.#make(kind));
    let tuned: { nprobe?: number; recall?: number } = {};
    try {
      if (!next.isTrained) await next.train(await this.#examples(kind, face));
      await this.#fill(next, 0, face);
      if (kind.description !== FLAT && !this.#closed) tuned = await this.#tune(next, kind, face);
      if (this.#closed) throw new FaissVisionError('ERR_CLOSED', 'the gallery was closed');
    } catch (error) {
      await next.close();
      throw error;
    }
    // In one turn, so that no search comes between.
    for (const work of this.#missed) work();
    const former = this.#index;
    [this.#index, this.#kind, this.#nprobe, this.#recall] = [next, kind, tuned.nprobe, tuned.recall];
    this.#gone.clear();
    this.#from = 'database';
    await former.close();
  }

  /** Features from all over the gallery to train by. */
  async #examples(kind: Kind, last: number): Promise<Float32Array> {
    const lists = Number(/IVF(\d+)/.exec(kind.description)?.[1] ?? 256);
    return this.#sample(Math.max(lists * TRAINING, 4096), last);
  }

  async #sample(count: number, last: number): Promise<Float32Array> {
    const { dimension } = this.#mark;
    const pages: Float32Array[] = [];
    const every = Math.max(1, Math.floor(last / count));
    let taken = 0;
    for (let after = 0; after < last && taken < count * dimension && !this.#closed; ) {
      const { labels, features, next } = await this.#read(after, last);
      if (labels.length === 0) break;
      const some = new Float32Array(Math.ceil(labels.length / every) * dimension);
      for (let i = 0; i * every < labels.length; i++) some.set(features.subarray(i * every * dimension, (i * every + 1) * dimension), i * dimension);
      pages.push(some);
      taken += some.length;
      after = next;
    }
    const all = new Float32Array(taken);
    let at = 0;
    for (const page of pages) {
      all.set(page, at);
      at += page.length;
    }
    return all;
  }

  /** The recall of the new index on the gallery's own faces, with as many lists looked through as it takes. */
  async #tune(next: Index, kind: Kind, last: number): Promise<{ nprobe?: number; recall?: number }> {
    const all = await this.#sample(SAMPLE, last);
    const x = all.slice(0, SAMPLE * this.#mark.dimension);
    const lists = /^IVF(\d+),Flat$/.exec(kind.description)?.[1];
    let exact: BigInt64Array;
    if (lists !== undefined) exact = (await next.search(x, 2, { params: { nprobe: Number(lists) } })).labels;
    else if (this.#kind.description === FLAT) exact = (await this.#index.search(x, 2)).labels;
    else return {};
    const steps = 'nprobe' in (await next.describe()).parameters ? NPROBES : [undefined];
    let tuned: { nprobe?: number; recall?: number } = {};
    for (const nprobe of steps) {
      if (nprobe !== undefined) await next.set('nprobe', nprobe);
      const { labels } = await next.search(x, 2);
      tuned = { ...(nprobe === undefined ? {} : { nprobe }), recall: agreement(labels, exact) };
      if (tuned.recall! >= RECALL) break;
    }
    return tuned;
  }

  #choose(faces: number): Kind {
    const { index, flatUpTo } = this.#options;
    const flat = this.#flat(faces);
    if (index === 'flat') return flat;
    if (index !== 'auto') return { description: /IVF|^IDMap/.test(index) ? index : `IDMap,${index}`, exact: flat.exact };
    // What is there stays where the size is near a limit, so that growing and shrinking rarely mean building anew.
    const present = Number(/^IVF(\d+),Flat$/.exec(this.#kind?.description ?? '')?.[1] ?? 0);
    if (faces <= (present > 0 ? 0.8 : 1) * flatUpTo) return flat;
    const lists = 2 ** Math.round(Math.log2(2 * Math.sqrt(faces)));
    return { description: `IVF${present >= lists / 2 && present <= lists * 2 ? present : lists},Flat`, exact: 'plain' };
  }

  #flat(faces: number): Kind {
    const small = faces * this.#mark.dimension <= (this.#kind?.exact === 'plain' && this.#kind.description === FLAT ? 0.5 : 1) * BOUNDED_NUMBERS;
    return { description: FLAT, exact: this.#options.exact ?? (small ? 'bounded' : 'plain') };
  }

  #make({ description, exact }: Kind): Index {
    return Index.factory(this.#mark.dimension, description, { metric: this.#mark.metric === 'l2' ? 'l2' : 'ip', exact });
  }

  async about(): Promise<IndexAbout> {
    const { ntotal, bytes } = await this.#index.describe();
    return {
      index: this.#kind.description,
      ...(this.#kind.description === FLAT ? { exact: this.#kind.exact } : {}),
      ...{ faces: ntotal - this.#gone.size, bytes, from: this.#from },
      ...(this.#nprobe === undefined ? {} : { nprobe: this.#nprobe }),
      ...(this.#recall === undefined ? {} : { recall: this.#recall }),
      building: this.#building !== undefined,
    };
  }

  /** Resolves once nothing is being built. @throws what the last building failed of */
  async settled(): Promise<void> {
    while (this.#building !== undefined) await this.#building;
    if (this.#buildError !== undefined) throw this.#buildError;
  }

  /** Writes the index as it is now. @returns what is in the file; undefined where the index still holds what was removed */
  async save(file: string): Promise<{ about: SnapshotAbout; moment: Moment } | undefined> {
    if (this.#gone.size > 0) return undefined;
    const moment = this.#moment;
    const { description } = this.#kind;
    const tuned = { ...(this.#nprobe === undefined ? {} : { nprobe: this.#nprobe }), ...(this.#recall === undefined ? {} : { recall: this.#recall }) };
    await this.#index.save(file);
    return { about: { checksum: checksumOf(file)!, description, ...tuned }, moment };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#building;
    await this.#index.close();
  }
}

function grouped(distances: Float32Array, labels: BigInt64Array, k: number, top: number, squared: boolean): Neighbour[][] {
  const found: Neighbour[][] = [];
  for (let i = 0; i < labels.length; i += k) {
    const people = new Map<number, Neighbour>();
    for (let at = i; at < i + k && people.size < top && labels[at]! >= 0n; at++) {
      const person = personOf(labels[at]!);
      if (!people.has(person)) people.set(person, { label: labels[at]!, score: squared ? Math.sqrt(distances[at]!) : distances[at]! });
    }
    found.push([...people.values()]);
  }
  return found;
}

/** For how many faces the nearest other one is the same: the nearest of all is the face itself, or one like it. */
function agreement(labels: BigInt64Array, exact: BigInt64Array): number {
  let same = 0;
  for (let i = 0; i < labels.length; i += 2) same += labels[i + 1] === exact[i + 1] || labels[i] === exact[i + 1] ? 1 : 0;
  return same / (labels.length / 2);
}

/** The checksum that a file of an index ends with (native/ann/checked_file.h), as text; which `Index.load` then holds the content against. */
export function checksumOf(path: string): string | undefined {
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    const end = Buffer.alloc(16);
    if (readSync(file, end, 0, 16, fstatSync(file).size - 16) < 16 || end.toString('latin1', 8) !== 'FVINDEX1') return undefined;
    return end.toString('hex', 0, 8);
  } catch {
    return undefined; // none, or shorter
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
