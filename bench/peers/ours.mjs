// This package, through its public API.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

export class Peer {
  static kinds = ['flat', 'hnsw', 'ivf'];

  constructor({ vectors, queries, dimension }) {
    const { Index, searchInfo } = require('../../dist/ann');
    Object.assign(this, { Index, vectors, dimension, all: queries });
    this.single = Array.from({ length: queries.length / dimension }, (_, i) => queries.slice(i * dimension, (i + 1) * dimension));
    this.version = require('../../package.json').version;
    this.details = searchInfo();
  }

  async build(kind, { M, efConstruction, nlist }) {
    const description = { flat: 'Flat', hnsw: `HNSW${M}`, ivf: `IVF${nlist},Flat` }[kind];
    await this.index?.close();
    this.kind = kind;
    this.index = this.Index.factory(this.dimension, description);
    if (kind === 'hnsw') await this.index.set('efConstruction', efConstruction);
    if (!this.index.isTrained) await this.index.train(this.vectors);
    await this.index.add(this.vectors);
  }

  tune(value) {
    return this.index.set(this.kind === 'hnsw' ? 'efSearch' : 'nprobe', value);
  }

  async batch(k) {
    return (await this.index.search(this.all, k)).labels;
  }

  one(count, k) {
    return this.single.slice(0, count).map((query) => this.index.searchSync(query, k).labels);
  }

  async await(count, k) {
    const labels = [];
    for (const query of this.single.slice(0, count)) labels.push((await this.index.search(query, k)).labels);
    return labels;
  }

  async together(count, k) {
    const answers = await Promise.all(this.single.slice(0, count).map((query) => this.index.search(query, k)));
    return answers.map(({ labels }) => labels);
  }

  close() {
    return this.index.close();
  }
}
