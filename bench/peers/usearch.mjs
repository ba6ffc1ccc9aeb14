// usearch of npm: HNSW, and exact search that keeps no index.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { peerVersion, requirePeers } from './install.mjs';

// Its exact search holds every distance at once and says of itself that it is made for fewer than 100 queries a call.
const exactBatch = 50;

export class Peer {
  static kinds = ['flat', 'hnsw'];

  constructor({ vectors, queries, dimension, threads, folder }) {
    Object.assign(this, { usearch: requirePeers()('usearch'), vectors, dimension, threads });
    this.version = peerVersion('usearch');
    this.file = join(folder, 'usearch.index');
    this.all = queries;
    // Copies: exactSearch reads an array's buffer from its start, wherever the array begins in it.
    this.single = rows(queries, dimension);
    this.chunks = rows(queries, dimension * exactBatch);
  }

  build(kind, { M, efConstruction }) {
    Object.assign(this, { kind, saved: false });
    if (kind === 'flat') return;
    this.settings = {
      dimensions: this.dimension,
      metric: 'l2sq',
      quantization: 'f32',
      connectivity: M,
      expansion_add: efConstruction,
      expansion_search: 0,
      multi: false,
    };
    this.index = new this.usearch.Index(this.settings);
    const keys = BigUint64Array.from({ length: this.vectors.length / this.dimension }, (_, i) => BigInt(i));
    this.index.add(keys, this.vectors, this.threads);
  }

  /** expansion_search can only be given to the constructor, so the index goes through a file. */
  tune(expansion) {
    if (!this.saved) this.index.save(this.file);
    this.saved = true;
    this.index = null;
    // V8 does not know how large the old one is and would keep many.
    gc();
    this.index = new this.usearch.Index({ ...this.settings, expansion_search: expansion });
    this.index.load(this.file);
  }

  batch(k) {
    if (this.kind === 'flat') return this.chunks.map((chunk) => this.exact(chunk, k));
    return this.index.search(this.all, k, this.threads).keys;
  }

  one(count, k) {
    const search = this.kind === 'flat' ? (query) => this.exact(query, k) : (query) => this.index.search(query, k, 1).keys;
    return this.single.slice(0, count).map(search);
  }

  exact(queries, k) {
    return this.usearch.exactSearch(this.vectors, queries, this.dimension, k, 'l2sq', this.threads).keys;
  }

  close() {
    rmSync(this.file, { force: true });
  }
}

function rows(array, length) {
  return Array.from({ length: Math.ceil(array.length / length) }, (_, i) => array.slice(i * length, (i + 1) * length));
}
