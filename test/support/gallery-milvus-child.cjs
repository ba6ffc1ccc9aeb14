// A process of its own that uses a gallery, told by its arguments: what, where, and where to.
const { writeSync } = require('node:fs');
const { Gallery } = require('faiss-vision/gallery');

const dimension = 16;
const recognizer = { model: 'made', version: '1', dimension, metric: 'l2', threshold: 1 };
const features = (n) => Float32Array.from({ length: 2 * dimension }, (_, i) => Math.sin(n * 2 * dimension + i));

const works = {
  /** Enrols people with two faces each until it is killed, and says who was acknowledged. */
  async enroll(location) {
    const gallery = await Gallery.open(location, { recognizer });
    for (let i = 0; ; i++) {
      const { person } = await gallery.enrollFeatures(`Person ${process.pid} ${i}`, features(i));
      process.stdout.write(`${person.id}\n`);
    }
  },

  /** Copies one gallery into another, says when a part of it is there, and stands still then. */
  async copy(from, to) {
    const [source, target] = [await Gallery.open(from, { recognizer }), await Gallery.open(to, { recognizer })];
    await source.copyTo(target, {
      onProgress(done) {
        writeSync(1, `${done}\n`);
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
      },
    });
  },

  /** Uses a gallery and does not close it. */
  async leave(location) {
    const gallery = await Gallery.open(location, { recognizer });
    await gallery.enrollFeatures('Ada', features(1));
    await gallery.identifyFeatures(features(1));
  },

  /** Opens a gallery where the package for Milvus is not installed. */
  async without(location) {
    const Module = require('node:module');
    const load = Module._load;
    Module._load = (name, ...rest) => {
      if (name === '@zilliz/milvus2-sdk-node') throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' });
      return load(name, ...rest);
    };
    await Gallery.open(location, { recognizer }).catch(({ code, message }) => process.stdout.write(JSON.stringify({ code, message })));
  },
};

const [what, ...args] = process.argv.slice(2);
works[what](...args);
