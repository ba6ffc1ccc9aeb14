// A worker that looks for faces in files and in what sharp decoded, memory of another addon, until it is ended.
const { join } = require('node:path');
const { parentPort } = require('node:worker_threads');
const sharp = require('sharp');
const { FaceRecognizer } = require('faiss-vision/face');
const { photosFolder } = require('../../dist/models/cache.js');

async function decoded(photo) {
  const { data, info } = await sharp(photo).raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: 3 };
}

FaceRecognizer.load({ model: 'resnet128' }).then((recognizer) => {
  const photos = ['obama', 'obama2', 'biden'].map((name) => join(photosFolder(), 'face_recognition', `${name}.jpg`));
  let looked = 0;
  const again = async (i) => {
    const photo = photos[i % photos.length];
    await recognizer.faces(i % 2 === 0 ? photo : await decoded(photo));
    if (++looked === 12) parentPort.postMessage('busy');
    return again(i + 1);
  };
  for (let i = 0; i < 16; i++) again(i);
});
