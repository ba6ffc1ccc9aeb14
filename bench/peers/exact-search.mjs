// usearch's exactSearch in a process of its own, so that its threads are not in the way: forked by bench/exact.mjs.
import { readSync, openSync, closeSync, fstatSync } from 'node:fs';
import { microseconds } from '../measure.mjs';
import { peerVersion, requirePeers } from './install.mjs';

const usearch = requirePeers()('usearch');
let vectors, queries, dimension, metric, threads;

function read(path) {
  const file = openSync(path, 'r');
  const floats = new Float32Array(fstatSync(file).size / 4);
  const bytes = new Uint8Array(floats.buffer);
  for (let at = 0; at < bytes.length; ) at += readSync(file, bytes, at, Math.min(1 << 30, bytes.length - at), at);
  closeSync(file);
  return floats;
}

process.on('message', async (command) => {
  if (command.vectors) {
    ({ dimension, metric, threads } = command);
    [vectors, queries] = [read(command.vectors), read(command.queries)];
    return process.send({ version: peerVersion('usearch') });
  }
  const query = queries.slice(command.query * dimension, (command.query + 1) * dimension); // exactSearch reads a buffer from its start
  let labels;
  const time = await microseconds(() => {
    labels = usearch.exactSearch(vectors, query, dimension, command.k, metric, threads).keys;
  });
  process.send({ time, labels: [...labels].map(Number) });
});
