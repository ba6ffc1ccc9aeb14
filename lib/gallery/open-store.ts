import { FaissVisionError } from '../error';
import { invalid } from '../image/check';
import { type SqliteOptions, SqliteStore } from './sqlite-store';
import type { Store, StoreOptions } from './store';

/** The store that a location names: a path is an SQLite file, `milvus://` a collection of a server. */
export async function openStore(location: string, options: SqliteOptions & StoreOptions): Promise<Store> {
  if (typeof location !== 'string' || location === '' || location.includes('\0'))
    throw invalid('location', 'a path, or milvus://host:port/name', location);
  if (location.startsWith('milvus://')) {
    // Here ./milvus-store is loaded, and opened with the same mark.
    throw new FaissVisionError('ERR_UNSUPPORTED', 'this version keeps galleries in SQLite files only');
  }
  return SqliteStore.open(location, options);
}
