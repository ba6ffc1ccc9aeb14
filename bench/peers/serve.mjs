// One Node peer in a process of its own, so that no peer collects another's garbage: a command in, its answer out.
//   node bench/peers/serve.mjs NAME, forked by bench/indexes.mjs
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { microseconds } from '../measure.mjs';

const { Peer } = await import(`./${process.argv[2]}.mjs`);
let peer;

const commands = {
  open({ folder, dimension, threads }) {
    const read = (name) => new Float32Array(new Uint8Array(readFileSync(join(folder, name))).buffer);
    peer = new Peer({ vectors: read('vectors.f32'), queries: read('queries.f32'), dimension, threads, folder });
    return { version: peer.version, kinds: Peer.kinds, details: peer.details };
  },
  build: ({ kind, settings }) => microseconds(() => peer.build(kind, settings)),
  async tune({ value }) {
    await peer.tune(value);
    return true;
  },
  /** Every query's k nearest, row after row. */
  async labels({ k }) {
    const labels = [...(await peer.batch(k))];
    return labels.flatMap((label) => (typeof label === 'object' ? [...label] : label)).map(Number);
  },
  /** way: batch (all queries in one call), one (the first `count`, a call each) or another method of the peer's. */
  time: ({ way, count, k }) => microseconds(() => (way === 'batch' ? peer.batch(k) : peer[way](count, k))),
  async close() {
    await peer.close();
    return true;
  },
};

process.on('message', async (command) => process.send(await commands[command.do](command)));
