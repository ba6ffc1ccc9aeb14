// Makes features on a device, forgets them while searches of them are under way, and ends a thread in the midst of the same.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { Index } = require('../../dist/ann');
const { FaceRecognizer } = require('../../dist/face');

const device = isMainThread ? process.argv[2] : workerData;
const chip = readFileSync(join(__dirname, '../golden/resnet128/obama.jpg.150x150.rgb'));

async function main() {
  const recognizer = await FaceRecognizer.load({ model: 'resnet128', device });
  const index = Index.factory(128, 'Flat');
  await index.add(new Float32Array(128 * 20_000).map((_, i) => Math.sin(i)));
  await index.add(await recognizer.embed(chip));
  let right = 0;
  const searches = [];
  for (let i = 0; i < 200; i++) {
    const features = await recognizer.embed(chip, { keepOnDevice: true });
    searches.push(index.search(features, 1).then(({ labels }) => (right += Number(labels[0] === 20_000n))));
    if (i % 10 === 0) globalThis.gc?.();
    if (!isMainThread && i === 20) parentPort.postMessage('busy');
  }
  await Promise.all(searches);
  console.log(`searched ${right}`);
}

main().then(async () => {
  if (!isMainThread) return;
  const worker = new Worker(__filename, { workerData: device });
  await new Promise((resolve) => worker.once('message', resolve));
  await worker.terminate();
  console.log('ended');
});
