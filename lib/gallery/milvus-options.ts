// Apart from what uses them: the declarations of a public type must not ask for the types of a package that is not installed.

/** Which changes a read has to see: all, those older than a few seconds, or some. */
export type MilvusConsistency = 'Strong' | 'Bounded' | 'Eventually';

/** How a Milvus server is spoken to. */
export interface MilvusConnectionOptions {
  /** `user:password`, or an API key. */
  token?: string;
  /** `true` for Node's certificate authorities, or files of one's own; with `certFile` and `keyFile` the client shows a certificate too. */
  tls?: boolean | { caFile?: string; certFile?: string; keyFile?: string; serverName?: string };
  /** Milliseconds for one attempt at one request. Default 10,000. */
  timeout?: number;
  /** Milliseconds after which a request that may be tried again is given up. Default 30,000. */
  retryFor?: number;
}

/** How faces are searched; milvus.io/docs/index.md */
export interface MilvusIndex {
  /** One of Milvus's indexes, such as `'HNSW'`. Default `'FLAT'`, which is exact and looks at every face. */
  indexType?: string;
  /** What the index is built with, such as `{ M: 16, efConstruction: 200 }`. */
  indexParams?: { [name: string]: number };
  /** What a search is told, such as `{ ef: 200 }`. */
  searchParams?: { [name: string]: number };
}

/** What a gallery on a Milvus server can be told besides. */
export interface MilvusOptions extends MilvusConnectionOptions, MilvusIndex {
  /**
   * What reads see. `'Strong'`: everything that was acknowledged before, to whomever. `'Bounded'` and `'Eventually'` are quicker on a
   * cluster, and may miss people of the last seconds. What a change is decided by is always read with `'Strong'`. Default `'Strong'`.
   */
  consistency?: MilvusConsistency;
}
