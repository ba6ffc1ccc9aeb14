import { FaissVisionError } from '../error';
import { Index, made, type IndexOptions } from './faiss-index';

// FAISS's own class names for the indexes that are used most; each is a short way to write what a factory string says.

/** A number that goes into a factory string, which could not tell a fraction from the next parameter. */
function whole(value: number, name: string, min: number): number {
  if (Number.isInteger(value) && value >= min) return value;
  throw new FaissVisionError('ERR_INVALID_ARGUMENT', `\`${name}\` must be a whole number from ${min} on, got ${String(value)}`);
}

/** The options of a class whose metric is its own. */
export type FixedMetricOptions = Omit<IndexOptions, 'metric'>;

/** Exact search by squared Euclidean distance. */
export class IndexFlatL2 extends Index {
  constructor(dimension: number, options: FixedMetricOptions = {}) {
    super(made(dimension, 'Flat', { ...options, metric: 'l2' }), options);
  }
}

/** Exact search by inner product. */
export class IndexFlatIP extends Index {
  constructor(dimension: number, options: FixedMetricOptions = {}) {
    super(made(dimension, 'Flat', { ...options, metric: 'ip' }), options);
  }
}

/** A graph of neighbours (Malkov and Yashunin, 2016): fast and precise, and large; nothing can be removed. */
export class IndexHNSW extends Index {
  /** @param m neighbours of a vector in each layer, from 2 on */
  constructor(dimension: number, m = 32, options: IndexOptions = {}) {
    super(made(dimension, `HNSW${whole(m, 'm', 2)},Flat`, options), options);
  }
}

/** Lists by the nearest of `nlist` centroids; a search looks through `nprobe` of them. */
export class IndexIVFFlat extends Index {
  constructor(dimension: number, nlist: number, options: IndexOptions = {}) {
    super(made(dimension, `IVF${whole(nlist, 'nlist', 1)},Flat`, options), options);
  }
}

/** The same over product quantizer codes (Jégou, Douze and Schmid, 2011) of `m` x `nbits` bits. */
export class IndexIVFPQ extends Index {
  constructor(dimension: number, nlist: number, m: number, nbits = 8, options: IndexOptions = {}) {
    super(made(dimension, `IVF${whole(nlist, 'nlist', 1)},PQ${whole(m, 'm', 1)}x${whole(nbits, 'nbits', 1)}`, options), options);
  }
}

/** All product quantizer codes of `m` x `nbits` bits, one after the other. */
export class IndexPQ extends Index {
  constructor(dimension: number, m: number, nbits = 8, options: IndexOptions = {}) {
    super(made(dimension, `PQ${whole(m, 'm', 1)}x${whole(nbits, 'nbits', 1)}`, options), options);
  }
}

/** One bit for each of `nbits` random directions, compared by Hamming distance. */
export class IndexLSH extends Index {
  constructor(dimension: number, nbits: number = dimension, options: FixedMetricOptions = {}) {
    // FAISS's factory makes as many bits as there are dimensions: a random rotation comes before for any other number.
    const rotation = nbits === dimension ? '' : `RR${whole(nbits, 'nbits', 1)},`;
    super(made(dimension, `${rotation}LSH`, { ...options, metric: 'l2' }), options);
  }
}

/** Every number in 4, 6, 8 or 16 bits. */
export class IndexScalarQuantizer extends Index {
  constructor(dimension: number, type: 'SQ4' | 'SQ6' | 'SQ8' | 'SQfp16' = 'SQ8', options: IndexOptions = {}) {
    if (!['SQ4', 'SQ6', 'SQ8', 'SQfp16'].includes(type)) {
      throw new FaissVisionError('ERR_INVALID_ARGUMENT', `\`type\` must be 'SQ4', 'SQ6', 'SQ8' or 'SQfp16', got '${String(type)}'`);
    }
    super(made(dimension, type, options), options);
  }
}
