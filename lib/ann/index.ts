import { annAddon } from '../addon';

export { Ann, type AnnOptions, type Decision, type Neighbour } from './ann';
export {
  BaseIndex,
  type AsyncSearchOptions,
  type IndexDescription,
  type IndexHandle,
  type Metric,
  type ProgressOptions,
  type RangeSearchResult,
  type SearchOptions,
  type SearchResult,
} from './base-index';
export { BinaryIndex } from './binary-index';
export { Index, type GpuOptions, type IndexOptions, type LoadOptions, type OpenOptions } from './faiss-index';
export type { Filter, Ids, IdSet } from './ids';
export {
  IndexFlatIP,
  IndexFlatL2,
  IndexHNSW,
  IndexIVFFlat,
  IndexIVFPQ,
  IndexLSH,
  IndexPQ,
  IndexScalarQuantizer,
  type FixedMetricOptions,
} from './index-classes';
export type { Device } from '../device';
export type { DeviceFeatures } from '../device-features';
export { FaissVisionError } from '../error';
export { setThreads } from '../addon';

/**
 * What searches: FAISS's version and the instruction set it was compiled for, the instruction set of this package's own kernels
 * and the BLAS's, which are chosen for this processor, and the number of threads.
 */
export interface SearchInfo {
  faiss: string;
  simd: string;
  kernels: string;
  blas: string;
  blasKernels: string;
  threads: number;
}

/** @throws ERR_ADDON_UNAVAILABLE */
export function searchInfo(): SearchInfo {
  return annAddon().info();
}

/**
 * How much memory each GPU sets aside for the temporary results of searches and adds, for the whole process: indexes there are,
 * and those to come. What does not fit is taken anew each time, which is slower. FAISS's own, and its most, is 1.5 GiB.
 * @throws ERR_INVALID_ARGUMENT unless from 0 to 1.5 GiB, ERR_CUDA_UNAVAILABLE, ERR_CUDA_OUT_OF_MEMORY, ERR_ADDON_UNAVAILABLE
 */
export function setCudaMemory(bytes: number): void {
  annAddon().setCudaMemory(bytes);
}
