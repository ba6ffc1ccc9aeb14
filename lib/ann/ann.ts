import { annAddon, type NativeAnn, type NativeSearchResult } from '../addon';
import { stable } from '../buffers';
import { gpuNumber, type Device } from '../device';
import { optionsOf } from './base-index';
import type { Ids } from './ids';

export interface AnnOptions {
  /** Numbers in a vector. */
  dimension: number;
  /**
   * When the nearest neighbour is a match: `'cosine'`: similarity above it; `'l2'`: Euclidean distance below it.
   */
  threshold: number;
  /** Neighbours that a search returns. Default 1. */
  k?: number;
  /** Cosine similarity (larger is nearer; vectors are scaled to length 1) or Euclidean distance (smaller is nearer). Default `'cosine'`. */
  metric?: 'cosine' | 'l2';
  /**
   * Where to search. With a GPU the vectors are in its memory and in the processor's: what is found is measured, saved and
   * erased there. After an `erase` the next search copies all of them anew. Default `'cpu'`. See docs/gpu.md
   */
  device?: Device;
  /**
   * Both are exact. `'bounded'` rules most vectors out by bounds from a copy in one byte a number (27 % more memory), where
   * the index is large enough for it to pay; `'plain'` reads every vector. Default `'bounded'`. See docs/exact-search.md
   */
  exact?: 'bounded' | 'plain';
}

export interface Neighbour {
  /** The id of a known vector. */
  index: number;
  /** Cosine similarity from -1 to 1, or plain (not squared) Euclidean distance. */
  score: number;
}

/** What a search says of one vector. */
export interface Decision {
  /** Whether the nearest neighbour passes the threshold. */
  found: boolean;
  /** The nearest neighbour's id, -1 where nothing is known yet. */
  index: number;
  /** The nearest neighbour's score, null where nothing is known yet. */
  score: number | null;
  /** The k nearest, nearest first; fewer where fewer are known. */
  neighbours: Neighbour[];
}

/**
 * Finds the known vectors nearest to a new one and decides by a threshold whether the nearest is a match. Exact search
 * over FAISS's flat indexes, most of whose vectors are ruled out by bounds before they are read.
 *
 * Every method works on a thread of its own and returns a promise; operations on one `Ann` happen in the order in which
 * they were called. A large array that is passed in stays readable, but can no longer be transferred to another thread.
 */
export class Ann {
  readonly dimension: number;
  readonly k: number;
  readonly threshold: number;
  readonly metric: 'cosine' | 'l2';
  readonly #native: NativeAnn;

  /** @throws ERR_INVALID_ARGUMENT, ERR_CUDA_UNAVAILABLE with the reason, ERR_ADDON_UNAVAILABLE */
  constructor(options: AnnOptions) {
    this.#native = options instanceof Loaded ? options.native : new (annAddon().Ann)(options ?? null, gpuNumber(options?.device));
    const { dimension, k, threshold, metric } = this.#native.describe();
    this.dimension = dimension;
    this.k = k;
    this.threshold = threshold;
    this.metric = metric;
  }

  /** Opens what `save` wrote. @throws ERR_FILE_NOT_FOUND, ERR_FILE_READ, ERR_INDEX_CORRUPT, ERR_CUDA_UNAVAILABLE */
  static async load(path: string, options: Pick<AnnOptions, 'device'> = {}): Promise<Ann> {
    const gpu = gpuNumber(optionsOf(options).device);
    const native = new (annAddon().Ann)();
    await native.load(path, gpu);
    return new Ann(new Loaded(native) as unknown as AnnOptions);
  }

  /** How many vectors are known: those of every operation that has ended. */
  get size(): number {
    return this.#native.size();
  }

  /** Memory of the vectors and their ids, in bytes. */
  get bytes(): number {
    return this.#native.describe().bytes;
  }

  /**
   * Adds one or many vectors, all or none.
   * @param vectors n x dimension numbers
   * @param ids n ids; without, they are numbered on from the largest id ever used
   * @returns the n ids
   * @throws ERR_DIMENSION_MISMATCH, ERR_EMPTY_INPUT, ERR_NOT_FINITE, ERR_ZERO_VECTOR (cosine), ERR_INVALID_ID,
   * ERR_DUPLICATE_ID, ERR_DETACHED, ERR_INVALID_ARGUMENT, ERR_CLOSED
   */
  async add(vectors: Float32Array, ids?: Ids): Promise<number[]> {
    return this.#native.add(stable(vectors), ids);
  }

  /** `add` on the calling thread, after everything that was called before. */
  addSync(vectors: Float32Array, ids?: Ids): number[] {
    return this.#native.addSync(vectors, ids);
  }

  /**
   * Looks one or many vectors up.
   * @param vectors n x dimension numbers
   * @returns n decisions
   * @throws ERR_DIMENSION_MISMATCH, ERR_EMPTY_INPUT, ERR_NOT_FINITE, ERR_ZERO_VECTOR (cosine), ERR_DETACHED,
   * ERR_INVALID_ARGUMENT, ERR_CLOSED, ERR_CUDA_OUT_OF_MEMORY (nothing is lost)
   */
  async search(vectors: Float32Array): Promise<Decision[]> {
    return this.#decide(await this.#native.search(stable(vectors)));
  }

  /** `search` on the calling thread, after everything that was called before. */
  searchSync(vectors: Float32Array): Decision[] {
    return this.#decide(this.#native.searchSync(vectors));
  }

  /**
   * Forgets these ids; the ids of the others stay valid. Unknown ids are passed over.
   * @returns how many were known
   * @throws ERR_INVALID_ID, ERR_CLOSED
   */
  async erase(ids: Ids): Promise<number> {
    return this.#native.erase(ids);
  }

  /** Forgets everything. Ids that were numbered automatically are not used again. */
  async clear(): Promise<void> {
    return this.#native.clear();
  }

  /**
   * Writes one file: FAISS's own format (an IndexIDMap over a flat index) with the settings and a checksum behind it.
   * The old file or the new one is there at any moment, never half of one.
   * @throws ERR_FILE_WRITE with the system's reason
   */
  async save(path: string): Promise<void> {
    return this.#native.save(path);
  }

  /** Frees the memory once everything that was called before is done. Later calls reject with ERR_CLOSED. */
  async close(): Promise<void> {
    return this.#native.close();
  }

  #decide({ indices, scores, found }: NativeSearchResult): Decision[] {
    const { k } = this;
    return Array.from(found, (passed, query) => {
      const neighbours: Neighbour[] = [];
      for (let i = query * k; i < (query + 1) * k; i++) {
        const index = Number(indices[i]);
        if (index >= 0) neighbours.push({ index, score: scores[i]! });
      }
      const nearest = neighbours[0];
      return { found: passed === 1, index: nearest?.index ?? -1, score: nearest?.score ?? null, neighbours };
    });
  }
}

/** Marks the constructor's call from `Ann.load`. */
class Loaded {
  constructor(readonly native: NativeAnn) {}
}
