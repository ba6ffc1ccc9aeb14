import { annAddon } from '../addon';
import { stable } from '../buffers';
import { BaseIndex, keyOf, type IndexHandle } from './base-index';
import type { OpenOptions } from './faiss-index';

/** Any FAISS index over vectors of bits, eight to a byte, by Hamming distance. */
export class BinaryIndex extends BaseIndex<Uint8Array, Int32Array> {
  /**
   * An index by FAISS's name for it: `'BFlat'`, `'BIVF1024'`, `'BIVF1024_HNSW32'`, `'BHNSW32'`, `'BHash16'` or
   * `'BHash4x16'`; with `'IDMap2,'` before it, it keeps ids.
   * @param dimension bits of a vector, a multiple of 8
   * @throws ERR_INVALID_ARGUMENT, ERR_ADDON_UNAVAILABLE
   */
  static factory(dimension: number, description: string, options: OpenOptions = {}): BinaryIndex {
    return new BinaryIndex(new (annAddon().BinaryIndex)(dimension, description, undefined), options);
  }

  /** Opens what `save` or FAISS itself (`write_index_binary`) wrote. @throws as `Index.load` */
  static async load(path: string, options: OpenOptions = {}): Promise<BinaryIndex> {
    const native = new (annAddon().BinaryIndex)();
    await native.load(false, path);
    return new BinaryIndex(native, options);
  }

  static loadSync(path: string, options: OpenOptions = {}): BinaryIndex {
    const native = new (annAddon().BinaryIndex)();
    native.load(true, path);
    return new BinaryIndex(native, options);
  }

  /** Opens what `toBuffer` gave, or the bytes of a file. @throws as `Index.load` */
  static async fromBuffer(bytes: Uint8Array, options: OpenOptions = {}): Promise<BinaryIndex> {
    const native = new (annAddon().BinaryIndex)();
    await native.fromBuffer(false, stable(bytes));
    return new BinaryIndex(native, options);
  }

  static fromBufferSync(bytes: Uint8Array, options: OpenOptions = {}): BinaryIndex {
    const native = new (annAddon().BinaryIndex)();
    native.fromBuffer(true, bytes);
    return new BinaryIndex(native, options);
  }

  /** Opens an index that another thread of this process shares. @throws ERR_INVALID_ARGUMENT, ERR_CLOSED */
  static attach(handle: IndexHandle, options: OpenOptions = {}): BinaryIndex {
    return new BinaryIndex(new (annAddon().BinaryIndex)(keyOf(handle, 'BinaryIndex')), options);
  }

  /** @internal */
  protected override kind() {
    return 'BinaryIndex' as const;
  }
}
