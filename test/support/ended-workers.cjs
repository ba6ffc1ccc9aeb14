// Loads an addon in worker after worker, ends each in the middle of its work, and prints the resident memory.
// In a process of its own: node ended-workers.cjs WORKER COUNT
const { Worker } = require('node:worker_threads');
const { resolve } = require('node:path');

async function main(file, count) {
  const resident = [];
  for (let i = 0; i < count; i++) {
    const worker = new Worker(resolve(__dirname, file));
    await new Promise((busy, failed) => worker.once('message', busy).once('error', failed));
    await new Promise((done) => setTimeout(done, i % 7));
    await worker.terminate();
    resident.push(process.memoryUsage.rss());
  }
  console.log(JSON.stringify(resident));
}

main(process.argv[2], Number(process.argv[3]));
