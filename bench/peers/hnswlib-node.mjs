// hnswlib-node of npm: HNSW and brute force. One vector a call, on the JavaScript thread, as an array of numbers.
import { peerVersion, requirePeers } from './install.mjs';

export class Peer {
  static kinds = ['flat', 'hnsw'];

  constructor({ vectors, queries, dimension }) {
    Object.assign(this, { hnswlib: requirePeers()('hnswlib-node'), dimension });
    this.version = peerVersion('hnswlib-node');
    this.points = rows(vectors, dimension);
    this.queries = rows(queries, dimension);
  }

  build(kind, { M, efConstruction }) {
    if (kind === 'flat') {
      this.index = new this.hnswlib.BruteforceSearch('l2', this.dimension);
      this.index.initIndex(this.points.length);
    } else {
      this.index = new this.hnswlib.HierarchicalNSW('l2', this.dimension);
      this.index.initIndex(this.points.length, M, efConstruction);
    }
    this.points.forEach((point, id) => this.index.addPoint(point, id));
  }

  tune(ef) {
    this.index.setEf(ef);
  }

  /** It has no call for several queries: the same as one at a time. */
  batch(k) {
    return this.one(this.queries.length, k);
  }

  one(count, k) {
    return this.queries.slice(0, count).map((query) => this.index.searchKnn(query, k).neighbors);
  }

  close() {}
}

function rows(array, length) {
  return Array.from({ length: array.length / length }, (_, i) => Array.from(array.subarray(i * length, (i + 1) * length)));
}
