// Ends a thread in the midst of looking at photos, and then the process itself.
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { FaceRecognizer } = require('../../dist/face');

const device = isMainThread ? process.argv[2] : workerData;
const grey = { data: new Uint8Array(3 * 320 * 240).fill(128), width: 320, height: 240, channels: 3 };

async function begin() {
  const recognizer = await FaceRecognizer.load({ model: 'resnet128', device });
  const calls = Array.from({ length: 32 }, () => recognizer.faces(grey));
  calls.forEach((call) => call.catch(() => {}));
  await Promise.race(calls);
}

begin().then(async () => {
  if (!isMainThread) return parentPort.postMessage('busy');
  const worker = new Worker(__filename, { workerData: device });
  await new Promise((resolve) => worker.once('message', resolve));
  await worker.terminate();
  console.log('ended');
  await begin();
  console.log('ended');
  process.exit();
});
