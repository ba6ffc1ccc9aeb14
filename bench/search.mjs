// Ann's search through await, FAISS's own C++ call in the same process, and faiss-cpu of PyPI in Python, in turn.
//   npm run bench:search
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadBareFaiss } from './build.mjs';
import { difference, inTurn, median, microseconds, ratio } from './measure.mjs';
import { pythonPeer } from './python.mjs';

const { BareFlat } = await loadBareFaiss();
const { Ann, searchInfo } = createRequire(import.meta.url)('../dist/ann');

const dimension = 512;
const count = 100_000;
const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-bench-'));
const file = join(folder, 'vectors.f32');

console.log('ours:', JSON.stringify(searchInfo()));
const vectors = new Float32Array(count * dimension);
for (let i = 0; i < count; i++) {
  let squares = 0;
  for (let j = i * dimension; j < (i + 1) * dimension; j++) squares += (vectors[j] = Math.random() - 0.5) ** 2;
  for (let j = i * dimension; j < (i + 1) * dimension; j++) vectors[j] /= Math.sqrt(squares);
}
writeFileSync(file, vectors);

for (const metric of ['l2', 'cosine']) {
  const ann = new Ann({ dimension, threshold: 0.5, metric });
  await ann.add(vectors);
  const bare = new BareFlat(dimension, metric);
  bare.add(vectors);
  const python = pythonPeer(new URL('search_peer.py', import.meta.url).pathname, ['faiss-cpu', 'numpy']);
  const peer = await python.ask({ file, dimension, metric });
  if (metric === 'l2') console.log('python:', JSON.stringify(peer), '\n');

  console.log(`${metric === 'l2' ? 'L2' : 'inner product'}, ${count.toLocaleString('en')} x ${dimension} flat, k = 1`);
  for (const [queries, rounds] of [[1, 100], [1000, 7]]) {
    const asked = vectors.slice(0, queries * dimension);
    const times = await inTurn(
      {
        ours: () => microseconds(() => ann.search(asked)),
        faiss: async () => bare.search(asked, 1),
        python: () => python.ask({ queries, k: 1 }),
      },
      rounds,
    );
    const ms = (name) => `${(median(times[name]) / 1000).toFixed(2)} ms`;
    console.log(
      `  ${queries === 1 ? '1 query:      ' : '1,000 queries:'} ours ${ms('ours')}, FAISS in C++ ${ms('faiss')} ` +
        `(ours / FAISS ${ratio(times.ours, times.faiss).toFixed(3)}, ours - FAISS ${difference(times.ours, times.faiss).toFixed(0)} us), ` +
        `faiss-cpu in Python ${ms('python')} (Python / ours ${ratio(times.python, times.ours).toFixed(2)})`,
    );
  }
  python.end();
  await ann.close();
}
rmSync(folder, { recursive: true });
