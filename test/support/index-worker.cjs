// A worker on an index that another thread shares. workerData: { handle, task }
const { parentPort, workerData } = require('node:worker_threads');
const { Index } = require('faiss-vision/ann');

const tasks = {
  /** Searches the queries one by one, all at once, and posts what came out. */
  async search({ queries, k }) {
    const index = Index.attach(workerData.handle);
    const d = index.dimension;
    const found = await Promise.all(
      Array.from({ length: queries.length / d }, (_, i) => index.search(queries.subarray(i * d, (i + 1) * d), k)),
    );
    parentPort.postMessage(found);
    await index.close();
  },

  /** Opens the index, or an empty one of its own, and stays until told to go. */
  async stay({ d }) {
    const index = workerData.handle === undefined ? Index.factory(d, 'Flat') : Index.attach(workerData.handle);
    if (workerData.handle === undefined) index.addSync(new Float32Array(d));
    await index.search(new Float32Array(d).fill(0.1), 3);
    globalThis.gc?.();
    parentPort.postMessage('here');
    parentPort.once('message', () => index.close());
  },

  /** Never stops of its own accord: searches, adds, merges, saves. */
  async forever({ path }) {
    const index = Index.attach(workerData.handle);
    const d = index.dimension;
    const x = Float32Array.from({ length: 400 * d }, (_, i) => Math.sin(i));
    const again = (work) => work().then(() => again(work));
    for (let i = 0; i < 4; i++) again(() => index.search(x.subarray(0, 3 * d), 5));
    again(() => index.search(x, 5));
    again(() => index.save(path));
    again(async () => {
      const other = Index.factory(d, 'Flat');
      await other.add(x.subarray(0, 20 * d));
      await index.mergeFrom(other);
    });
    again(() => index.remove(Array.from({ length: 20 }, (_, i) => 500 + i)));
    parentPort.postMessage('busy');
  },
};

tasks[workerData.task.name](workerData.task);
