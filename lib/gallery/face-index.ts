import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { Index } from '../ann';
import { FaissVisionError } from '../error';
import { type FacePage, type IndexSource, type Moment, pageIn, pageMemory, personOf, type SnapshotAbout } from './database';
import { chooseKind, type FaceIndexOptions, FLAT, flatKind, type Kind } from './index-kind';
import { examples, type ReadPage, tune, type Tuned } from './index-tuning';
import type { ModelMark } from './types';

/** A person's nearest face, by its label. */
export interface Neighbour {
  label: bigint;
  score: number;
}

/** So much of an array an index copies at once (lib/buffers.ts); more of shared memory would be copied into new memory first. */
const PIECE_BYTES = 64 * 1024;
/** An index that cannot remove is built anew once so large a part of it is gone. */
const GONE = 0.05;

/** What is searched by, and why. */
export interface IndexAbout extends Tuned {
  /** FAISS's factory string. */
  index: string;
  exact?: 'bounded' | 'plain';
  faces: number;
  bytes: number;
  /** How it was made: from the database, or read from its file. */
  from: 'database' | 'snapshot';
  /** Whether another one is being built. */
  building: boolean;
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
  #tuned: Tuned = {};
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
    this.#kind = chooseKind(0, mark.dimension, options);
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
    const exact = flatKind(source.faces, this.#mark.dimension, this.#options).exact;
    // Whatever is wrong with a file, the database has the same.
    const saved = about === undefined || checksumOf(file) !== about.checksum ? undefined : await Index.load(file, { exact }).catch(() => undefined);
    await this.#index.close();
    if (saved === undefined) {
      // What has to be trained is built in the background; a flat index answers at once.
      this.#kind = flatKind(source.faces, this.#mark.dimension, this.#options);
      this.#index = this.#make(this.#kind);
    } else {
      this.#index = saved;
      this.#kind = { description: about!.description, exact };
      [this.#tuned, this.#from] = [about!.tuned, 'snapshot'];
      after = face!;
      this.#remove(source.removed);
    }
    await this.#fill(this.#index, after, source.moment.face);
    this.#size = source.faces;
    this.#moment = source.moment;
    this.#grow();
  }

  async #fill(index: Index, after: number, last: number): Promise<void> {
    const { dimension } = this.#mark;
    const memories = [pageMemory(dimension), pageMemory(dimension)] as const;
    const piece = Math.max(1, Math.floor(PIECE_BYTES / 4 / dimension));
    // The next page is read while this one is added.
    let page = this.#read(after, last, memories[0]);
    for (let turn = 0; ; turn ^= 1) {
      const { count, next } = await page;
      const more = count > 0 && next < last && !this.#closed;
      if (more) page = this.#read(next, last, memories[turn ^ 1]!);
      const { labels, features } = pageIn(memories[turn]!, dimension);
      const adding: Promise<void>[] = [];
      for (let at = 0; at < count; at += piece) {
        const end = Math.min(count, at + piece);
        adding.push(index.add(features.subarray(at * dimension, end * dimension), labels.subarray(at, end)));
      }
      await Promise.all(adding);
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
    const kind = chooseKind(faces, this.#mark.dimension, this.#options, this.#kind);
    const another = kind.description !== this.#kind.description || (kind.exact !== this.#kind.exact && kind.description === FLAT);
    if (!another && this.#gone.size <= faces * GONE) return;
    const began = this.#moment;
    this.#buildError = undefined;
    this.#building = this.#rebuild(kind)
      .catch((error: unknown) => {
        // Searches go on with the one there is; the next change tries again.
        this.#buildError = error;
      })
      .finally(() => {
        this.#missed = this.#next = this.#building = undefined;
        if (this.#moment !== began) this.#grow(); // too few faces to train by, then, may be enough now
      });
  }

  async #rebuild(kind: Kind): Promise<void> {
    const { face } = this.#moment;
    this.#missed = [];
    const next = (this.#next = this.#make(kind));
    let tuned: Tuned = {};
    try {
      if (!next.isTrained) await next.train(await examples(this.#read, kind.description, this.#mark.dimension, face));
      await this.#fill(next, 0, face);
      const flat = this.#kind.description === FLAT ? this.#index : undefined;
      if (kind.description !== FLAT && !this.#closed) tuned = await tune(next, flat, kind.description, this.#read, face);
      if (this.#closed) throw new FaissVisionError('ERR_CLOSED', 'the gallery was closed');
    } catch (error) {
      await next.close();
      throw error;
    }
    // In one turn, so that no search comes between.
    for (const work of this.#missed) work();
    const former = this.#index;
    [this.#index, this.#kind, this.#tuned] = [next, kind, tuned];
    this.#gone.clear();
    this.#from = 'database';
    await former.close();
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
      ...this.#tuned,
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
    const tuned = this.#tuned;
    await this.#index.save(file);
    return { about: { checksum: checksumOf(file)!, description, tuned }, moment };
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
