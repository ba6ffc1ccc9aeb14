import { annAddon, visionAddon, type NativeCuda } from './addon';
import type { SearchInfo } from './ann';
import { FaissVisionError } from './error';
import { loadedAddons, packageVersion } from './native';

/** A GPU. */
export interface CudaDevice {
  /** What the option `device` calls it. */
  device: `cuda:${number}`;
  name: string;
  /** Compute capability, such as `'9.0'`. */
  capability: string;
  /** Bytes. */
  memory: number;
  /** Bytes that no program has taken. */
  free: number;
}

/** CUDA, as search uses it. Versions are there where they are known. */
export interface CudaInfo {
  devices: CudaDevice[];
  /** Why none can be used; not there where one can. */
  reason?: string;
  /** The newest CUDA that the driver supports. */
  driver?: string;
  /** The CUDA that `ann.node` was built with; not there in a build without. */
  runtime?: string;
  cublas?: string;
  /** The compute capabilities that it has code for, as CMAKE_CUDA_ARCHITECTURES has them. */
  architectures?: string;
}

/** An addon that could not be loaded. */
export interface Unavailable {
  code: string;
  reason: string;
}

/** What runs here. */
export interface Info {
  /** Of this package; `'unknown'` where a bundler has put its code into another file. */
  version: string;
  node: string;
  /** FAISS, its instruction set, BLAS and threads, and the file of `ann.node`. */
  search: (SearchInfo & { file: string }) | Unavailable;
  /** libtorch, the CUDA that it was built for (not there in a build for the processor), its threads, and the file of `vision.node`. */
  vision: { torch: string; cuda?: string; threads: number; file: string } | Unavailable;
  cuda: CudaInfo;
}

/** Versions, devices and the files that were loaded. It loads both addons, libtorch included, and starts CUDA where there is a GPU. */
export function info(): Info {
  let cuda: NativeCuda = { devices: [], reason: 'ann.node could not be loaded' };
  const search = ask('ann', () => {
    const addon = annAddon();
    cuda = addon.cuda();
    return addon.info();
  });
  return { version: packageVersion(), node: process.versions.node, search, vision: ask('vision', () => visionAddon().info()), cuda };
}

function ask<T extends object>(name: 'ann' | 'vision', question: () => T): (T & { file: string }) | Unavailable {
  try {
    const answer = question();
    return { ...answer, file: loadedAddons().get(name)! };
  } catch (error) {
    if (error instanceof FaissVisionError) return { code: error.code, reason: error.message };
    throw error;
  }
}
