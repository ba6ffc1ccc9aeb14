import type { Device } from './device';
import { FaissVisionError } from './error';
import { loadAddon } from './native';

/** One native addon, loaded at the first call: whoever only searches never needs libtorch. */
function lazily<T extends CommonAddon>(name: 'ann' | 'vision'): () => T {
  let addon: T | undefined;
  return () => {
    if (addon !== undefined) return addon;
    const loading = withBriefSpinning(() => loadAddon(name) as T);
    if (threads !== undefined) loading.setThreads(threads);
    loaded.push(loading);
    process.on('exit', () => loading.close());
    return (addon = loading);
  };
}

/**
 * GCC's OpenMP lets a thread that waits for another spin for milliseconds. On a machine that does other work too, that
 * takes the processor from the very thread it waits for: measured, a search of 32 vectors beside two busy processes
 * takes 12 times as long. It reads its setting once, when it is loaded, which an addon does first. (A worker thread's
 * process.env is a copy, so an addon that a worker loads first keeps OpenMP's own way.)
 */
function withBriefSpinning<T>(work: () => T): T {
  const { env } = process;
  if (env.GOMP_SPINCOUNT !== undefined || env.OMP_WAIT_POLICY !== undefined) return work();
  env.GOMP_SPINCOUNT = '1000'; // some 50 microseconds
  try {
    return work();
  } finally {
    delete env.GOMP_SPINCOUNT; // not for child processes
  }
}

interface CommonAddon {
  setThreads(threads: number): void;
  /** Drops what waits and waits for what runs; at process.exit() nothing else would, before the libraries end. */
  close(): void;
}

const loaded: CommonAddon[] = [];
let threads: number | undefined;

/**
 * How many threads FAISS, OpenMP and torch use for one operation, in the whole process; without it, one for each core.
 * @throws ERR_INVALID_ARGUMENT unless a whole number from 1 to 1024
 */
export function setThreads(count: number): void {
  if (!Number.isInteger(count) || count < 1 || count > 1024) {
    throw new FaissVisionError('ERR_INVALID_ARGUMENT', `\`threads\` must be a whole number from 1 to 1024, got ${String(count)}`);
  }
  threads = count;
  for (const addon of loaded) addon.setThreads(count);
}

export interface NativeAnnOptions {
  dimension: number;
  threshold: number;
  k?: number | undefined;
  metric?: string | undefined;
  exact?: string | undefined;
}

export interface NativeSearchResult {
  indices: BigInt64Array;
  scores: Float32Array;
  found: Uint8Array;
}

export interface NativeAnn {
  add(vectors: Float32Array, ids: unknown): Promise<number[]>;
  addSync(vectors: Float32Array, ids: unknown): number[];
  search(vectors: Float32Array): Promise<NativeSearchResult>;
  searchSync(vectors: Float32Array): NativeSearchResult;
  erase(ids: unknown): Promise<number>;
  clear(): Promise<void>;
  save(path: string): Promise<void>;
  load(path: string, gpu?: number): Promise<void>;
  close(): Promise<void>;
  size(): number;
  describe(): { dimension: number; k: number; threshold: number; metric: 'cosine' | 'l2'; bytes: number };
}

/** Every operation takes `sync` first: true returns the result itself. */
export interface NativeIndex<Vectors, Distances> {
  load(sync: boolean, path: string, exact?: string): Promise<void>;
  fromBuffer(sync: boolean, bytes: Uint8Array): Promise<void>;
  train(sync: boolean, x: Vectors, onProgress: ((fraction: number) => void) | undefined): Promise<void>;
  add(sync: boolean, x: Vectors, ids: unknown, onProgress: ((fraction: number) => void) | undefined): Promise<void>;
  search(sync: false, x: Vectors, k: number, params: unknown, filter: unknown, ticket: number): Promise<NativeNeighbours<Distances>>;
  search(sync: true, x: Vectors, k: number, params: unknown, filter: unknown, ticket: number): NativeNeighbours<Distances>;
  /** Whether it was done: without `sync` only where it is quick and nothing is under way. */
  searchScratch(sync: boolean, n: number, k: number): boolean;
  rangeSearch(sync: false, x: Vectors, radius: number, params: unknown, filter: unknown, ticket: number): Promise<NativeRange<Distances>>;
  rangeSearch(sync: true, x: Vectors, radius: number, params: unknown, filter: unknown, ticket: number): NativeRange<Distances>;
  remove(sync: false, ids: unknown): Promise<number>;
  remove(sync: true, ids: unknown): number;
  reconstruct(sync: false, ids: unknown): Promise<Vectors>;
  reconstruct(sync: true, ids: unknown): Vectors;
  mergeFrom(sync: boolean, other: NativeIndex<Vectors, Distances>, addId: number | bigint | undefined): Promise<void>;
  reset(sync: boolean): Promise<void>;
  get(sync: false, name: string): Promise<number>;
  get(sync: true, name: string): number;
  set(sync: boolean, name: string, value: number): Promise<void>;
  /** To these GPUs, or to the CPU where `gpus` is undefined. */
  to(sync: boolean, gpus: number[] | undefined, shards: boolean, float16: boolean): Promise<void>;
  describe(sync: false): Promise<NativeDescription>;
  describe(sync: true): NativeDescription;
  save(sync: boolean, path: string, onProgress: ((fraction: number) => void) | undefined): Promise<void>;
  toBuffer(sync: false): Promise<Uint8Array>;
  toBuffer(sync: true): Uint8Array;
  close(sync: boolean): Promise<void>;
  cancel(ticket: number): boolean;
  share(): string;
  limit(operations: number): void;
  size(): number;
  trained(): boolean;
  waiting(): number;
  about(): { dimension: number; metric: string };
}

interface NativeNeighbours<Distances> {
  distances: Distances;
  labels: BigInt64Array;
}

interface NativeRange<Distances> extends NativeNeighbours<Distances> {
  limits: Uint32Array;
}

export interface NativeDescription {
  type: string;
  dimension: number;
  metric: string;
  ntotal: number;
  isTrained: boolean;
  bytes: number;
  exact?: 'bounded' | 'plain';
  /** Not there on the CPU. */
  devices?: number[];
  parameters: Record<string, number>;
}

interface NativeIndexClass<Vectors, Distances> {
  new (): NativeIndex<Vectors, Distances>;
  new (key: string): NativeIndex<Vectors, Distances>;
  new (
    dimension: number,
    description: string,
    metric: string | undefined,
    exact?: string,
    gpus?: number[],
    shards?: boolean,
    float16?: boolean,
  ): NativeIndex<Vectors, Distances>;
}

export interface NativeCuda {
  driver?: string;
  runtime?: string;
  cublas?: string;
  architectures?: string;
  reason?: string;
  devices: { device: `cuda:${number}`; name: string; capability: string; memory: number; free: number }[];
}

export interface AnnAddon extends CommonAddon {
  Index: NativeIndexClass<Float32Array, Float32Array>;
  BinaryIndex: NativeIndexClass<Uint8Array, Int32Array>;
  /** What `searchScratch` reads from and writes to. */
  scratch: { inputs: Float32Array; distances: Float32Array; labels: BigInt64Array };
  /** @param gpu  the number of the GPU that searches */
  Ann: new (options?: NativeAnnOptions, gpu?: number) => NativeAnn;
  cuda(): NativeCuda;
  setCudaMemory(bytes: number): void;
  info(): { faiss: string; simd: string; kernels: string; blas: string; blasKernels: string; threads: number };
}

export const annAddon = lazily<AnnAddon>('ann');

export interface NativeFaceRecognizerOptions {
  model: string;
  weights: string;
  detectorWeights: string;
  /** Where `model` is a name of the user's own: whose weights these are, and when two faces are one person's. */
  architecture?: string | undefined;
  threshold?: number | undefined;
  precision?: string | undefined;
  device?: string | undefined;
  minFaceSize?: number | undefined;
  thresholds?: number[] | undefined;
  margin?: number | undefined;
  /** Takes JPEG files too; what it refuses rejects with ERR_IMAGE_DECODE. */
  decodes?: boolean | undefined;
}

export interface NativeFacesOptions {
  maxFaces?: number | undefined;
  minFaceSize?: number | undefined;
  region?: { x: number; y: number; width: number; height: number } | undefined;
}

export interface NativeFaces {
  /** For each face x, y, width, height, score and five landmarks x, y: 15 numbers. */
  boxes: Float32Array;
  /** For each face `dimension` numbers. */
  features: Float32Array;
}

export interface NativeImage {
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
  channels: number;
  order?: string | undefined;
  stride?: number | undefined;
  /** Anything true: `data` are a JPEG file, for a recogniser that `decodes`. */
  jpeg?: unknown;
}

export interface NativeFaceRecognizer {
  load(): Promise<{ dimension: number; chipSize: number; threshold: number; thresholdSource: string }>;
  warmUp(first: NativeImage, second: NativeImage): Promise<void>;
  faces(image: NativeImage, options?: NativeFacesOptions): Promise<NativeFaces>;
  embed(chips: Uint8Array): Promise<Float32Array>;
  embed(chips: Uint8Array, keepOnDevice: true): Promise<NativeDeviceFeatures>;
  close(): Promise<void>;
}

/** The handle is for both addons: native/addon/device_vectors.h. */
export interface NativeDeviceFeatures {
  handle: object;
  device: Device;
  count: number;
  dimension: number;
}

export interface NativeDepthEstimator {
  /** `near` and `source` are the weights file's metadata, empty where it has none. */
  load(): Promise<{ width: number; height: number; near: string; source: string }>;
  warmUp(image: NativeImage): Promise<void>;
  /** height x width numbers. */
  estimate(image: NativeImage): Promise<Float32Array>;
  close(): Promise<void>;
}

export interface VisionAddon extends CommonAddon {
  DepthEstimator: new (options: { weights: string; precision: string; device?: string }) => NativeDepthEstimator;
  FaceRecognizer: new (options: NativeFaceRecognizerOptions) => NativeFaceRecognizer;
  /** count x dimension numbers. */
  readFeatures(handle: object): Promise<Float32Array>;
  releaseFeatures(handle: object): void;
  /** Frees the memory of a buffer, where it can be, instead of leaving it to the garbage collection. */
  detach(buffer: ArrayBuffer): void;
  /** Gives memory that was freed back to the system, where the C library keeps it: how many milliseconds that took. */
  giveBackMemory(): Promise<number>;
  /** Rejects with the reason where networks cannot run there. */
  checkDevice(device: string): Promise<void>;
  /** `cuda`: the CUDA that it was built with; not there in a build without. */
  info(): { torch: string; threads: number; cuda?: string };
}

export const visionAddon = lazily<VisionAddon>('vision');
