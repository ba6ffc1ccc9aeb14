// What worker threads on a shared index cost and survive, in a process of its own: node index-sharing.cjs memory | ending
const { Worker } = require('node:worker_threads');
const { rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join, resolve } = require('node:path');
const { Index } = require('faiss-vision/ann');

const worker = (handle, task) => new Worker(resolve(__dirname, 'index-worker.cjs'), { workerData: { handle, task } });
const message = (from) => new Promise((done, failed) => from.once('message', done).once('error', failed));

/** Prints by how many bytes a worker grows the process: with an empty index of its own, and attached to one of 200 MB. */
async function memory() {
  const d = 512;
  const index = Index.factory(d, 'Flat');
  const x = new Float32Array(10_000 * d);
  for (let i = 0; i < 10; i++) {
    for (let j = 0; j < x.length; j++) x[j] = Math.sin(i * x.length + j);
    await index.add(x);
  }
  await index.search(x.subarray(0, d), 3);
  const perWorker = async (handle) => {
    const workers = [];
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 4; i++) {
      workers.push(worker(handle, { name: 'stay', d }));
      await message(workers.at(-1));
    }
    const grown = (process.memoryUsage.rss() - before) / workers.length;
    for (const each of workers) await each.terminate();
    return grown;
  };
  await perWorker(undefined); // what the first workers of a process cost once
  // The system takes back what others have freed when it likes: of three rounds those least disturbed by it.
  const [own, attached] = [[], []];
  for (let round = 0; round < 3; round++) {
    own.push(await perWorker(undefined));
    attached.push(await perWorker(index.share()));
  }
  console.log(JSON.stringify({ own: Math.max(...own), attached: Math.min(...attached) }));
}

/** Ends workers in the middle of their work on one index, which goes on answering. */
async function ending() {
  const d = 32;
  const index = Index.factory(d, 'Flat');
  const x = Float32Array.from({ length: 500 * d }, (_, i) => Math.cos(i * i));
  await index.add(x);
  const path = join(tmpdir(), `faiss-vision-ending-${process.pid}`);
  let answers = 0;
  for (let i = 0; i < 100; i++) {
    const each = worker(index.share(), { name: 'forever', path });
    await message(each);
    await new Promise((done) => setTimeout(done, i % 5));
    const [, { labels }] = await Promise.all([each.terminate(), index.search(x.subarray((i % 400) * d, (i % 400 + 1) * d), 1)]);
    if (Number(labels[0]) === i % 400) answers++;
  }
  rmSync(path, { force: true });
  console.log(JSON.stringify({ answers }));
}

({ memory, ending })[process.argv[2]]();
