// @vladmandic/face-api on TensorFlow.js's wasm backend, as a child process: a photo's path in, its faces and the time out.
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { microseconds } from '../measure.mjs';
import { requirePeers } from './install.mjs';

const { decode } = createRequire(import.meta.url)('../../dist/image');
const peers = requirePeers();
const tf = peers('@tensorflow/tfjs');
const wasm = peers('@tensorflow/tfjs-backend-wasm');
const faceapi = peers('@vladmandic/face-api/dist/face-api.node-wasm.js');

wasm.setWasmPaths(join(dirname(peers.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'dist/'));
if (!(await tf.setBackend('wasm'))) throw new Error("TensorFlow.js's wasm backend did not start");
const models = join(dirname(peers.resolve('@vladmandic/face-api/package.json')), 'model');
for (const net of ['ssdMobilenetv1', 'faceLandmark68Net', 'faceRecognitionNet']) await faceapi.nets[net].loadFromDisk(models);

/** The faces of a photo, decoded as ours decodes it, so that only the networks' side differs. */
async function faces(path) {
  const { data, width, height, channels } = await decode(path);
  const pixels = tf.tensor3d(data, [height, width, channels], 'int32');
  try {
    return await faceapi.detectAllFaces(pixels).withFaceLandmarks().withFaceDescriptors();
  } finally {
    pixels.dispose();
  }
}

process.on('message', async (path) => {
  let found;
  const time = await microseconds(async () => (found = await faces(path)));
  process.send({ time, faces: found.map(({ detection, descriptor }) => ({ score: detection.score, features: [...descriptor] })) });
});

process.send({
  'face-api': faceapi.version,
  tfjs: tf.version_core,
  backend: tf.getBackend(),
  simd: await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT'),
  // TensorFlow.js itself leaves its threaded build off under Node (its issue 3830).
  threaded: await tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT'),
  threads: wasm.getThreadsCount(),
});
