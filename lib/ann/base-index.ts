import type { NativeDescription, NativeIndex } from '../addon';
import { stable } from '../buffers';
import { FaissVisionError } from '../error';
import type { Filter, Ids } from './ids';

/** FAISS's metrics by their short names; `'l2'` is the squared Euclidean distance, as everywhere in FAISS, `'ip'` the inner product. */
export type Metric = 'l2' | 'ip' | 'l1' | 'linf' | 'canberra' | 'braycurtis' | 'jensenshannon';

/** n x k neighbours, best first. */
export interface SearchResult<Distances = Float32Array> {
  distances: Distances;
  /** The ids; -1 where there are fewer than k. */
  labels: BigInt64Array;
}

/** Neighbours within a radius. Those of query i are at `limits[i]` up to `limits[i + 1]`, in no order. */
export interface RangeSearchResult<Distances = Float32Array> {
  /** n + 1 places in the other two. */
  limits: Uint32Array;
  distances: Distances;
  labels: BigInt64Array;
}

export interface SearchOptions {
  /** Values of parameters for this search only, by FAISS's names: `{ nprobe: 16 }`, `{ efSearch: 64 }`. */
  params?: Record<string, number>;
  /** The ids that may be found. Flat, IVF with Flat, PQ or SQ, HNSW and SQ can filter. */
  filter?: Filter;
}

export interface AsyncSearchOptions extends SearchOptions {
  /** Rejects the promise with the signal's reason, and takes the search out of the queue where it still waits. */
  signal?: AbortSignal;
}

export interface ProgressOptions {
  /** Called with fractions up to 1 while the operation runs. */
  onProgress?: (fraction: number) => void;
}

export interface IndexDescription {
  /** FAISS's class, such as `IndexIVFPQ`. */
  type: string;
  dimension: number;
  /** One of `Metric`, or `'hamming'`. */
  metric: string;
  ntotal: number;
  isTrained: boolean;
  /** What the index is made of: as many bytes as a saved file has, and the copy that a bounded flat index has beside it. */
  bytes: number;
  /** How flat indexes search; not there for bits. */
  exact?: 'bounded' | 'plain';
  /** The GPUs that it is on; not there on the CPU. */
  devices?: `cuda:${number}`[];
  /** FAISS's names and the values that searches use unless they say otherwise. */
  parameters: Record<string, number>;
}

/** What `share` gives: posted to another thread of this process, `attach` opens the same index there. */
export interface IndexHandle {
  readonly faissVision: 'Index' | 'BinaryIndex';
  readonly key: string;
}

let tickets = 0;

/**
 * What `Index` and `BinaryIndex` share. Operations on one index happen in the order in which they were called, on a
 * thread of their own; searches that wait and ask for the same go to FAISS in one call. Every operation that returns a
 * promise has a twin whose name ends in `Sync`, which does the same on the calling thread, when everything that was
 * called before is done.
 */
export abstract class BaseIndex<Vectors extends Float32Array | Uint8Array, Distances> {
  /** Numbers, or bits, of a vector. */
  readonly dimension: number;
  readonly metric: string;
  /** @internal */
  declare readonly native: NativeIndex<Vectors, Distances>;
  #queueLimit = Infinity;

  /** @internal */
  protected constructor(native: NativeIndex<Vectors, Distances>, options: { queueLimit?: number | undefined } = {}) {
    const { dimension, metric } = native.about();
    Object.defineProperty(this, 'native', { value: native }); // not for console.log
    this.dimension = dimension;
    this.metric = metric;
    const { queueLimit } = optionsOf(options);
    if (queueLimit !== undefined) this.queueLimit = queueLimit;
  }

  /** How many vectors there are, of every operation that has ended. */
  get ntotal(): number {
    return this.native.size();
  }

  /** Whether vectors can be added: `train` is not needed, or done. */
  get isTrained(): boolean {
    return this.native.trained();
  }

  /** How many operations wait, without those that run. */
  get queue(): number {
    return this.native.waiting();
  }

  /** How many operations may wait; while there are as many, a further one rejects with ERR_QUEUE_FULL. Default Infinity. */
  get queueLimit(): number {
    return this.#queueLimit;
  }

  set queueLimit(limit: number) {
    this.native.limit(limit);
    this.#queueLimit = limit;
  }

  /**
   * Learns from vectors that are like those that will be added what the index needs to know (its lists, its codes).
   * @param x n x dimension numbers
   * @throws ERR_NOT_EMPTY where the index has vectors that are encoded already, ERR_FAISS with FAISS's reason (such as
   * too few vectors), ERR_NOT_FINITE, ERR_DIMENSION_MISMATCH, ERR_EMPTY_INPUT, ERR_DETACHED, ERR_CLOSED, ERR_QUEUE_FULL
   */
  async train(x: Vectors, options: ProgressOptions = {}): Promise<void> {
    const { onProgress } = optionsOf(options);
    return this.native.train(false, stable(x), onProgress);
  }

  trainSync(x: Vectors): void {
    this.native.train(true, x, undefined);
  }

  /**
   * Adds vectors.
   * @param x n x dimension numbers
   * @param ids n ids, where the type keeps them (IVF, and everything behind `IDMap2,`); without, vectors are numbered by
   * their position
   * @throws ERR_NOT_TRAINED, ERR_UNSUPPORTED where the type keeps no ids, ERR_INVALID_ID, and as `train`
   */
  async add(x: Vectors, ids?: Ids, options: ProgressOptions = {}): Promise<void> {
    const { onProgress } = optionsOf(options);
    return this.native.add(false, stable(x), ids, onProgress);
  }

  addSync(x: Vectors, ids?: Ids): void {
    this.native.add(true, x, ids, undefined);
  }

  /**
   * The k nearest of each query.
   * @param x n x dimension numbers
   * @throws ERR_NOT_TRAINED, ERR_UNKNOWN_PARAMETER, ERR_UNSUPPORTED where the type cannot filter, and as `train`
   */
  search(x: Vectors, k: number, options?: AsyncSearchOptions): Promise<SearchResult<Distances>> {
    if (options === undefined) return this.native.search(false, stable(x), k, undefined, undefined, 0);
    return this.#abortable(options, ({ params, filter }, ticket) => this.native.search(false, stable(x), k, params, filter, ticket));
  }

  searchSync(x: Vectors, k: number, options?: SearchOptions): SearchResult<Distances> {
    if (options === undefined) return this.native.search(true, x, k, undefined, undefined, 0);
    const { params, filter } = optionsOf(options);
    return this.native.search(true, x, k, params, filter, 0);
  }

  /**
   * All vectors within a radius of each query: a distance below it, or an inner product above it.
   * @param x n x dimension numbers
   * @throws ERR_UNSUPPORTED where the type has no range search, and as `search`
   */
  rangeSearch(x: Vectors, radius: number, options: AsyncSearchOptions = {}): Promise<RangeSearchResult<Distances>> {
    return this.#abortable(options, ({ params, filter }, ticket) => this.native.rangeSearch(false, stable(x), radius, params, filter, ticket));
  }

  rangeSearchSync(x: Vectors, radius: number, options: SearchOptions = {}): RangeSearchResult<Distances> {
    const { params, filter } = optionsOf(options);
    return this.native.rangeSearch(true, x, radius, params, filter, 0);
  }

  /**
   * Removes vectors. Where they are numbered by position the later ones move up; an IVF and an `IDMap2,` keep their ids.
   * @returns how many there were
   * @throws ERR_UNSUPPORTED where the type cannot (HNSW, NSG and others), ERR_INVALID_ID, ERR_CLOSED, ERR_QUEUE_FULL
   */
  remove(ids: Ids): Promise<number> {
    return this.native.remove(false, ids);
  }

  removeSync(ids: Ids): number {
    return this.native.remove(true, ids);
  }

  /**
   * A vector as the index keeps it: exact, or what its codes stand for.
   * @throws ERR_UNKNOWN_ID, ERR_UNSUPPORTED where the type keeps nothing to decode, ERR_INVALID_ID, ERR_CLOSED, ERR_QUEUE_FULL
   */
  reconstruct(id: number | bigint): Promise<Vectors> {
    return this.native.reconstruct(false, id);
  }

  reconstructSync(id: number | bigint): Vectors {
    return this.native.reconstruct(true, id);
  }

  /** The vectors of n ids, n x dimension numbers. @throws as `reconstruct` */
  reconstructBatch(ids: Ids): Promise<Vectors> {
    return this.native.reconstruct(false, ids);
  }

  reconstructBatchSync(ids: Ids): Vectors {
    return this.native.reconstruct(true, ids);
  }

  /**
   * Moves all vectors of another index of the same kind and training over; it is empty afterwards.
   * @param options.addId is added to each of the other's ids. Default 0
   * @throws ERR_INCOMPATIBLE_INDEX, ERR_DUPLICATE_ID, ERR_UNSUPPORTED, ERR_INVALID_ARGUMENT, ERR_CLOSED, ERR_QUEUE_FULL
   */
  async mergeFrom(other: this, options: { addId?: number | bigint } = {}): Promise<void> {
    return this.native.mergeFrom(false, this.#nativeOf(other), optionsOf(options).addId);
  }

  mergeFromSync(other: this, options: { addId?: number | bigint } = {}): void {
    this.native.mergeFrom(true, this.#nativeOf(other), optionsOf(options).addId);
  }

  /** Removes all vectors; what was trained stays. */
  reset(): Promise<void> {
    return this.native.reset(false);
  }

  resetSync(): void {
    this.native.reset(true);
  }

  /** The value of a parameter by FAISS's name, such as `nprobe`. @throws ERR_UNKNOWN_PARAMETER, which lists those there are */
  get(name: string): Promise<number> {
    return this.native.get(false, name);
  }

  getSync(name: string): number {
    return this.native.get(true, name);
  }

  /** Sets a parameter for the searches that are called from here on. @throws ERR_UNKNOWN_PARAMETER, ERR_INVALID_ARGUMENT */
  set(name: string, value: number): Promise<void> {
    return this.native.set(false, name, value);
  }

  setSync(name: string, value: number): void {
    this.native.set(true, name, value);
  }

  async describe(): Promise<IndexDescription> {
    return described(await this.native.describe(false));
  }

  describeSync(): IndexDescription {
    return described(this.native.describe(true));
  }

  /**
   * Writes a file that FAISS reads in any language, with a checksum behind it. It is written beside the old one, synced
   * and renamed: the old file or the new one is there at any moment, never half of one.
   * @throws ERR_FILE_WRITE with the system's reason, ERR_CLOSED, ERR_QUEUE_FULL
   */
  async save(path: string, options: ProgressOptions = {}): Promise<void> {
    const { onProgress } = optionsOf(options);
    return this.native.save(false, path, onProgress);
  }

  saveSync(path: string): void {
    this.native.save(true, path, undefined);
  }

  /** The bytes of such a file. */
  toBuffer(): Promise<Uint8Array> {
    return this.native.toBuffer(false);
  }

  toBufferSync(): Uint8Array {
    return this.native.toBuffer(true);
  }

  /**
   * What another worker thread opens this very index by, without a copy. It says nothing outside this process, and
   * keeps nothing open: the index lives while one of those that opened it has neither closed nor forgotten it.
   */
  share(): IndexHandle {
    return { faissVision: this.kind(), key: this.native.share() };
  }

  /** Frees the memory once everything that was called before is done. Later calls reject with ERR_CLOSED. */
  close(): Promise<void> {
    return this.native.close(false);
  }

  /** @internal */
  protected abstract kind(): IndexHandle['faissVision'];

  #nativeOf(other: this): NativeIndex<Vectors, Distances> {
    if (other instanceof BaseIndex && other.kind() === this.kind()) return other.native;
    const article = this.kind() === 'Index' ? 'an' : 'a';
    throw new FaissVisionError('ERR_INVALID_ARGUMENT', `\`other\` must be ${article} ${this.kind()}, got ${other === null ? 'null' : typeof other}`);
  }

  async #abortable<T>(options: AsyncSearchOptions, start: (options: SearchOptions, ticket: number) => Promise<T>): Promise<T> {
    const { signal } = optionsOf(options);
    if (signal === undefined) return start(options, 0);
    if (typeof signal?.throwIfAborted !== 'function') {
      throw new FaissVisionError('ERR_INVALID_ARGUMENT', `\`signal\` must be an AbortSignal, got ${signal === null ? 'null' : typeof signal}`);
    }
    signal.throwIfAborted();
    const ticket = ++tickets;
    let abort: () => void;
    const aborted = new Promise<never>((_, reject) => {
      abort = () => {
        reject(signal.reason as Error);
        this.native.cancel(ticket);
      };
      signal.addEventListener('abort', abort, { once: true });
    });
    try {
      return await Promise.race([aborted, start(options, ticket)]);
    } finally {
      signal.removeEventListener('abort', abort!);
    }
  }
}

function described({ devices, ...rest }: NativeDescription): IndexDescription {
  return devices === undefined ? rest : { ...rest, devices: devices.map((number) => `cuda:${number}` as const) };
}

/** The options of a call, which may not be null. @internal */
export function optionsOf<T extends object>(options: T): T {
  if (typeof options === 'object' && options !== null) return options;
  throw new FaissVisionError('ERR_INVALID_ARGUMENT', `\`options\` must be an object, got ${options === null ? 'null' : typeof options}`);
}

/** @internal */
export function keyOf(handle: IndexHandle, kind: IndexHandle['faissVision']): string {
  if (typeof handle === 'object' && handle !== null && handle.faissVision === kind && typeof handle.key === 'string') return handle.key;
  throw new FaissVisionError('ERR_INVALID_ARGUMENT', `\`handle\` must be what ${kind}.share() gave, got ${handle === null ? 'null' : typeof handle}`);
}
