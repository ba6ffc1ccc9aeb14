import { annAddon } from '../addon';

export { Ann, type AnnOptions, type Decision, type Ids, type Neighbour } from './ann';
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
