import { annAddon, type NativeIndex } from '../addon';
import { stable } from '../buffers';
import { gpuNumber, type Device } from '../device';
import { handleOf, type DeviceFeatures } from '../device-features';
import { invalid } from '../image/check';
import {
  BaseIndex,
  keyOf,
  optionsOf,
  type AsyncSearchOptions,
  type IndexHandle,
  type Metric,
  type ProgressOptions,
  type SearchOptions,
  type SearchResult,
} from './base-index';
import type { Ids } from './ids';

export interface OpenOptions {
  /** How many operations may wait; a further one rejects with ERR_QUEUE_FULL. Default Infinity. */
  queueLimit?: number;
}

export interface LoadOptions extends OpenOptions {
  /**
   * How flat indexes search; both are exact. `'bounded'` rules most vectors out by bounds from a copy in one byte a number
   * (27 % more memory), where the index is large enough for it to pay; `'plain'` reads every vector. Default `'bounded'`.
   * See docs/exact-search.md
   */
  exact?: 'bounded' | 'plain';
}

export interface GpuOptions {
  /** What several GPUs hold: each the whole index, and its share of the queries, or each a part of it. Default `'replicas'`. */
  split?: 'replicas' | 'shards';
  /** Flat vectors in half precision, in half the memory, and the tables of product quantizers likewise. Default false. */
  float16?: boolean;
}

export interface IndexOptions extends LoadOptions, GpuOptions {
  /** Default `'l2'`. */
  metric?: Metric;
  /** Where to train, add and search: the processor, a GPU or several. Default `'cpu'`. See docs/gpu.md */
  device?: Device | readonly Device[];
}

/** @internal */
export type NativeFloatIndex = NativeIndex<Float32Array, Float32Array>;

/** Any FAISS index over vectors of floats. */
export class Index extends BaseIndex<Float32Array, Float32Array> {
  /**
   * An index by FAISS's name for it, such as `'Flat'`, `'IVF1024,PQ32'`, `'HNSW32'` or `'IDMap2,Flat'`.
   * See https://github.com/facebookresearch/faiss/wiki/The-index-factory
   * @param dimension numbers of a vector, from 1 to 2^20
   * @throws ERR_INVALID_ARGUMENT with FAISS's reason, ERR_UNSUPPORTED where FAISS does not compute this metric for this
   * type or does not search it on a GPU, ERR_CUDA_UNAVAILABLE with the reason, ERR_CUDA_OUT_OF_MEMORY, ERR_ADDON_UNAVAILABLE
   */
  static factory(dimension: number, description: string, options: IndexOptions = {}): Index {
    return new Index(made(dimension, description, options), options);
  }

  /**
   * Opens what `save` or FAISS itself wrote, in any language. A file of ours is checked by its checksum; any other is
   * looked through, and refused where its parts do not fit each other.
   * @throws ERR_FILE_NOT_FOUND, ERR_FILE_READ, ERR_INDEX_CORRUPT, ERR_INDEX_UNSUPPORTED
   */
  static async load(path: string, options: LoadOptions = {}): Promise<Index> {
    const native = new (annAddon().Index)();
    await native.load(false, path, optionsOf(options).exact);
    return new Index(native, options);
  }

  static loadSync(path: string, options: LoadOptions = {}): Index {
    const native = new (annAddon().Index)();
    native.load(true, path, optionsOf(options).exact);
    return new Index(native, options);
  }

  /** Opens what `toBuffer` gave, or the bytes of a file. @throws as `load` */
  static async fromBuffer(bytes: Uint8Array, options: OpenOptions = {}): Promise<Index> {
    const native = new (annAddon().Index)();
    await native.fromBuffer(false, stable(bytes));
    return new Index(native, options);
  }

  static fromBufferSync(bytes: Uint8Array, options: OpenOptions = {}): Index {
    const native = new (annAddon().Index)();
    native.fromBuffer(true, bytes);
    return new Index(native, options);
  }

  /**
   * Opens an index that another thread of this process shares, without a copy.
   * @throws ERR_INVALID_ARGUMENT, ERR_CLOSED where nobody has it open any more
   */
  static attach(handle: IndexHandle, options: OpenOptions = {}): Index {
    return new Index(new (annAddon().Index)(keyOf(handle, 'Index')), options);
  }

  /**
   * Moves it to a GPU, to several, or back. Where that fails it stays where it is. On a GPU it trains, adds, searches (`k` and
   * `nprobe` up to 2048), resets and saves; filters, radius, remove and mergeFrom are for the CPU: ERR_UNSUPPORTED.
   * @throws ERR_CUDA_UNAVAILABLE with the reason, ERR_CUDA_OUT_OF_MEMORY, ERR_UNSUPPORTED for types that stay on the CPU,
   * ERR_INVALID_ARGUMENT, ERR_CLOSED, ERR_QUEUE_FULL
   */
  async to(device: Device | readonly Device[], options: GpuOptions = {}): Promise<void> {
    return this.native.to(false, ...placement(device, options));
  }

  toSync(device: Device | readonly Device[], options: GpuOptions = {}): void {
    this.native.to(true, ...placement(device, options));
  }

  override async add(x: Float32Array | DeviceFeatures, ids?: Ids, options?: ProgressOptions): Promise<void> {
    return super.add(handleOf(x) as Float32Array, ids, options);
  }

  override addSync(x: Float32Array | DeviceFeatures, ids?: Ids): void {
    super.addSync(handleOf(x) as Float32Array, ids);
  }

  override search(x: Float32Array | DeviceFeatures, k: number, options?: AsyncSearchOptions): Promise<SearchResult> {
    if (!(x instanceof Float32Array)) return this.#searchThere(x, k, options);
    // Where the search takes no longer than waking another thread, that would only make it slower.
    if (options === undefined && atOnce < AT_ONCE) {
      try {
        const found = this.#small(false, x, k);
        if (found !== undefined) {
          if (atOnce++ === 0) setImmediate(() => (atOnce = 0)).unref();
          return Promise.resolve(found);
        }
      } catch (error) {
        return Promise.reject(error as Error);
      }
    }
    return super.search(x, k, options);
  }

  override searchSync(x: Float32Array | DeviceFeatures, k: number, options?: SearchOptions): SearchResult {
    if (!(x instanceof Float32Array)) return super.searchSync(handleOf(x) as never, k, options);
    return (options === undefined ? this.#small(true, x, k) : undefined) ?? super.searchSync(x, k, options);
  }

  async #searchThere(features: DeviceFeatures, k: number, options?: AsyncSearchOptions): Promise<SearchResult> {
    return super.search(handleOf(features) as never, k, options);
  }

  /** Small searches take microseconds; handing arrays over would take longer than many of them. */
  #small(sync: boolean, x: Float32Array, k: number): SearchResult | undefined {
    const { inputs, distances, labels } = (scratch ??= annAddon().scratch);
    if (x.length === 0 || x.length > inputs.length) return undefined;
    const n = x.length / this.dimension;
    const results = n * k;
    if (!Number.isInteger(n) || !Number.isInteger(k) || k < 1 || results > labels.length) return undefined;
    inputs.set(x);
    if (!this.native.searchScratch(sync, n, k)) return undefined;
    return { distances: distances.slice(0, results), labels: labels.slice(0, results) };
  }

  /** @internal */
  protected override kind() {
    return 'Index' as const;
  }
}

/** How many searches may be done on the spot before the event loop has had its turn: some tenths of a millisecond. */
const AT_ONCE = 8;
let atOnce = 0;
let scratch: { inputs: Float32Array; distances: Float32Array; labels: BigInt64Array } | undefined;

/** @internal */
export function made(dimension: number, description: string, options: IndexOptions): NativeFloatIndex {
  const { metric, device, exact } = optionsOf(options);
  return new (annAddon().Index)(dimension, description, metric, exact, ...placement(device, options));
}

function placement(device: unknown, options: GpuOptions): [gpus: number[] | undefined, shards: boolean, float16: boolean] {
  const { split = 'replicas', float16 = false } = optionsOf(options);
  if (split !== 'replicas' && split !== 'shards') throw invalid('split', "'replicas' or 'shards'", split);
  if (typeof float16 !== 'boolean') throw invalid('float16', 'true or false', float16);
  const gpus = (Array.isArray(device) ? device : [device]).map(gpuNumber);
  if (gpus.every((gpu) => gpu !== undefined) && gpus.length > 0) return [gpus, split === 'shards', float16];
  if (gpus.length !== 1) throw invalid('device', "'cpu', 'cuda', 'cuda:N' or an array of GPUs", device);
  return [undefined, false, false];
}
