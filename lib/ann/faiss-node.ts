import { FaissVisionError } from '../error';
import type { Metric } from './base-index';
import { Index as FaissIndex } from './faiss-index';

// The npm package faiss-node 0.5.1 again: its names, what it takes and gives, the order of its checks, its messages.
// Docs: docs/faiss-node.md

/** n x k neighbours, best first. */
export interface SearchResult {
  distances: number[];
  /** The ids; -1 where there are fewer than k. */
  labels: number[];
}

/** FAISS's numbers for its metrics. `METRIC_L2` is the squared distance. */
export enum MetricType {
  METRIC_INNER_PRODUCT = 0,
  METRIC_L2 = 1,
  METRIC_L1 = 2,
  METRIC_Linf = 3,
  /** Not here: `fromFactory` has no argument for its p. */
  METRIC_Lp = 4,
  METRIC_Canberra = 20,
  METRIC_BrayCurtis = 21,
  METRIC_JensenShannon = 22,
  /** Not here: FAISS 1.7.3 has none. */
  METRIC_Jaccard = 23,
}

const METRICS = new Map<number, Metric>([
  [MetricType.METRIC_INNER_PRODUCT, 'ip'],
  [MetricType.METRIC_L2, 'l2'],
  [MetricType.METRIC_L1, 'l1'],
  [MetricType.METRIC_Linf, 'linf'],
  [MetricType.METRIC_Canberra, 'canberra'],
  [MetricType.METRIC_BrayCurtis, 'braycurtis'],
  [MetricType.METRIC_JensenShannon, 'jensenshannon'],
]);

/**
 * Any FAISS index, with faiss-node's synchronous methods. What fails is an `Error`, or a `TypeError` where an argument
 * is of another type, with faiss-node's message and a `code` of ours.
 */
export class Index {
  readonly #index: FaissIndex;

  /** A flat index by squared Euclidean distance. @param d numbers of a vector */
  constructor(d: number);
  /** @internal */
  constructor(index: FaissIndex);
  constructor(from: number | FaissIndex) {
    this.#index = from instanceof FaissIndex ? from : flat(from, 'l2');
  }

  /** Opens the file that `write` or FAISS wrote, in any language; an index of any type. */
  static read(fname: string): Index {
    return new Index(opened(arguments.length, fname));
  }

  /** Opens what `toBuffer` gave, or the bytes of a file. */
  static fromBuffer(src: Uint8Array): Index {
    return new Index(decoded(arguments.length, src));
  }

  /**
   * An index by FAISS's name for it, such as `'IVF1024,PQ32'`.
   * @param dims numbers of a vector
   * @param metric default `MetricType.METRIC_L2`
   */
  static fromFactory(dims: number, descriptor: string, metric?: MetricType): Index {
    if (arguments.length < 2) throw wrong(`Expected 2 or 3 arguments, but got ${arguments.length}.`);
    if (typeof dims !== 'number') throw wrongType('Invalid the first argument type, must be a number.');
    if (typeof descriptor !== 'string') throw wrongType('Invalid the second argument type, must be a string.');
    return new Index(FaissIndex.factory(Math.trunc(dims), descriptor, { metric: metricOf(metric) }));
  }

  /** How many vectors there are. */
  ntotal(): number {
    return this.#index.ntotal;
  }

  /** Numbers of a vector. */
  getDimension(): number {
    return this.#index.dimension;
  }

  /** Whether vectors can be added: `train` is not needed, or done. */
  isTrained(): boolean {
    return this.#index.isTrained;
  }

  /** Adds n vectors, numbered on from `ntotal()`. @param x n x d numbers */
  add(x: readonly number[]): void {
    requireCount(arguments.length, 1);
    const vectors = this.#vectors(x);
    if (vectors.length > 0) this.#index.addSync(vectors);
  }

  /** Learns from n vectors what the index needs to know. @param x n x d numbers */
  train(x: readonly number[]): void {
    requireCount(arguments.length, 1);
    const vectors = this.#vectors(x);
    if (vectors.length > 0 || !this.#index.isTrained) this.#index.trainSync(vectors);
  }

  /** The k nearest of each of n vectors. @param x n x d numbers @param k at most `ntotal()` */
  search(x: readonly number[], k: number): SearchResult {
    requireCount(arguments.length, 2);
    requireArray(x);
    if (typeof k !== 'number') throw wrongType('Invalid the second argument type, must be a Number.');
    const each = Math.trunc(k);
    const { ntotal } = this.#index;
    if (!(each >= 0 && each <= ntotal)) {
      throw wrong(`Invalid the number of k (cannot be given a value greater than \`ntotal\`: ${ntotal}).`);
    }
    const queries = this.#vectors(x);
    if (queries.length === 0 || each === 0) return { distances: [], labels: [] };

    const found = this.#index.searchSync(queries, each);
    const n = found.labels.length;
    const distances = new Array<number>(n);
    const labels = new Array<number>(n);
    for (let i = 0; i < n; i++) {
      distances[i] = found.distances[i]!;
      labels[i] = Number(found.labels[i]);
    }
    return { distances, labels };
  }

  /** Writes FAISS's file format. The old file or the new one is there at any moment. */
  write(fname: string): void {
    requireCount(arguments.length, 1);
    if (typeof fname !== 'string') throw wrongType('Invalid the first argument type, must be a string.');
    this.#index.saveSync(fname);
  }

  /** The bytes of such a file. */
  toBuffer(): Buffer {
    requireCount(arguments.length, 0);
    const { buffer, byteOffset, byteLength } = this.#index.toBufferSync();
    return Buffer.from(buffer, byteOffset, byteLength);
  }

  /** Moves all vectors of another index of the same kind over; it is empty afterwards. */
  mergeFrom(otherIndex: Index): void {
    requireCount(arguments.length, 1);
    if ((typeof otherIndex !== 'object' && typeof otherIndex !== 'function') || otherIndex === null) {
      throw wrongType('Invalid argument type, must be an object.');
    }
    if (!(#index in otherIndex)) throw wrong('Invalid argument');
    const other = otherIndex.#index;
    if (other.dimension !== this.#index.dimension) {
      throw new FaissVisionError('ERR_DIMENSION_MISMATCH', 'The merging index must have the same dimension.');
    }
    this.#index.mergeFromSync(other);
  }

  /** Removes vectors; where they are numbered by position the later ones move up. @returns how many there were */
  removeIds(ids: readonly number[]): number {
    requireCount(arguments.length, 1);
    requireArray(ids);
    const stored: (number | bigint)[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      if (typeof id !== 'number') throw wrongItem(i);
      const whole = Math.trunc(id);
      // No index has one beyond 0 to 2^63 - 1. A NaN is left for the index to refuse.
      if (whole < 0 || whole >= 2 ** 63) continue;
      stored.push(whole > Number.MAX_SAFE_INTEGER ? BigInt(whole) : whole);
    }
    return this.#index.removeSync(stored);
  }

  #vectors(x: readonly number[]): Float32Array {
    requireArray(x);
    if (x.length % this.#index.dimension !== 0) throw new FaissVisionError('ERR_DIMENSION_MISMATCH', 'Invalid the given array length.');
    const vectors = new Float32Array(x.length);
    for (let i = 0; i < vectors.length; i++) {
      const number = x[i];
      if (typeof number !== 'number') throw wrongItem(i);
      vectors[i] = number;
    }
    return vectors;
  }
}

/** Exact search by squared Euclidean distance. */
export class IndexFlatL2 extends Index {
  static override read(fname: string): IndexFlatL2 {
    return new IndexFlatL2(opened(arguments.length, fname));
  }

  static override fromBuffer(src: Uint8Array): IndexFlatL2 {
    return new IndexFlatL2(decoded(arguments.length, src));
  }
}

/** Exact search by inner product. */
export class IndexFlatIP extends Index {
  constructor(d: number);
  /** @internal */
  constructor(index: FaissIndex);
  constructor(from: number | FaissIndex) {
    super(from instanceof FaissIndex ? from : flat(from, 'ip'));
  }

  static override read(fname: string): IndexFlatIP {
    return new IndexFlatIP(opened(arguments.length, fname));
  }

  static override fromBuffer(src: Uint8Array): IndexFlatIP {
    return new IndexFlatIP(decoded(arguments.length, src));
  }
}

// LangChain takes the default export, as import() makes it of a CommonJS package; so would TypeScript's esModuleInterop.
export default { Index, IndexFlatL2, IndexFlatIP, MetricType };

function flat(d: number, metric: Metric): FaissIndex {
  if (typeof d !== 'number') throw wrongType('Invalid the first argument type, must be a number.');
  return FaissIndex.factory(Math.trunc(d), 'Flat', { metric });
}

function opened(count: number, fname: unknown): FaissIndex {
  requireCount(count, 1);
  if (typeof fname !== 'string') throw wrongType('Invalid the first argument type, must be a string.');
  try {
    return FaissIndex.loadSync(fname);
  } catch (error) {
    const failed = `could not open ${fname}: `;
    if (!(error instanceof Error) || !error.message.startsWith(failed)) throw error;
    // FAISS's own words, which programs look for.
    const { code } = error as Error & { code: string };
    throw new FaissVisionError(code, `Error: could not open ${fname} for reading: ${error.message.slice(failed.length)}`, { cause: error });
  }
}

function decoded(count: number, src: unknown): FaissIndex {
  requireCount(count, 1);
  // Node-API counts every view as a buffer.
  if (!ArrayBuffer.isView(src)) throw wrongType('Invalid the first argument type, must be a buffer.');
  return FaissIndex.fromBufferSync(new Uint8Array(src.buffer, src.byteOffset, src.byteLength));
}

function metricOf(type: unknown): Metric {
  if (typeof type !== 'number') return 'l2'; // faiss-node passes over anything else
  const metric = METRICS.get(type);
  if (metric !== undefined) return metric;
  const name = MetricType[type];
  if (name === undefined) throw wrong(`\`metric\` must be a MetricType, got ${type}`);
  const there = [...METRICS.keys()].map((known) => MetricType[known]).join(', ');
  throw new FaissVisionError('ERR_UNSUPPORTED', `\`metric\` must be one of ${there}; this build has no ${name}`);
}

function requireCount(got: number, expected: number): void {
  if (got !== expected) throw wrong(`Expected ${expected} argument${expected === 1 ? '' : 's'}, but got ${got}.`);
}

function requireArray(value: unknown): void {
  if (!Array.isArray(value)) throw wrongType('Invalid the first argument type, must be an Array.');
}

const wrong = (message: string) => new FaissVisionError('ERR_INVALID_ARGUMENT', message);
const wrongItem = (at: number) => wrong(`Expected a Number as array item. (at: ${at})`);
const wrongType = (message: string) => Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARGUMENT' });
