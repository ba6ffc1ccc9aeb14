// A worker that keeps searches and additions in flight until it is ended.
const { parentPort } = require('node:worker_threads');
const { Ann } = require('faiss-vision/ann');

const d = 128;
const vectors = Float32Array.from({ length: 4000 * d }, (_, i) => Math.sin(i));
const index = new Ann({ dimension: d, threshold: 0.9 });
index.addSync(vectors);
const again = () => index.search(vectors.subarray(0, 1000 * d)).then(again);
for (let i = 0; i < 4; i++) again();
const grow = () => index.add(vectors.subarray(0, 200 * d)).then((ids) => index.erase(ids)).then(grow);
grow();
parentPort.postMessage('busy');
