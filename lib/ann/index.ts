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
export { Index, type IndexOptions, type LoadOptions, type OpenOptions } from './faiss-index';
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
export { FaissVisionError } from '../error';
export { setThreads } from '../addon';

/** What searches: FAISS's version and instruction set, the BLAS and whose kernels it uses, and the number of threads. */
export interface SearchInfo {
  faiss: string;
  simd: string;
  blas: string;
  blasKernels: string;
  threads: number;
}

/** @throws ERR_ADDON_UNAVAILABLE */
export function searchInfo(): SearchInfo {
  return annAddon().info();
}
