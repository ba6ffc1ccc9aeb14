import { invalid } from '../image/check';
import type { MilvusOptions } from './milvus-options';
import { MilvusStore } from './milvus-store';
import { type SqliteOptions, SqliteStore } from './sqlite-store';
import type { Store, StoreOptions } from './store';

/** The store that a location names: a path is an SQLite file, `milvus://` a collection of a server. */
export async function openStore(location: string, options: SqliteOptions & MilvusOptions & StoreOptions): Promise<Store> {
  if (typeof location !== 'string' || location === '' || location.includes('\0'))
    throw invalid('location', 'a path, or milvus://host:port/name', location);
  return location.startsWith('milvus://') ? MilvusStore.open(location, options) : SqliteStore.open(location, options);
}
