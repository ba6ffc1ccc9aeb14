// A worker that keeps looking for faces until it is ended.
const { parentPort } = require('node:worker_threads');
const { FaceRecognizer } = require('faiss-vision/face');

FaceRecognizer.load({ model: 'resnet128' }).then((recognizer) => {
  const image = { data: Uint8Array.from({ length: 500 * 400 * 3 }, (_, i) => 128 + 100 * Math.sin(i / 50)), width: 500, height: 400, channels: 3 };
  const chips = new Uint8Array(2 * 150 * 150 * 3).fill(90);
  const again = () => recognizer.faces(image).then(again);
  const embed = () => recognizer.embed(chips).then(embed);
  again();
  embed();
  parentPort.postMessage('busy');
});
