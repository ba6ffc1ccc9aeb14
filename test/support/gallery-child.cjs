// Enrols as fast as it can, and says what was acknowledged, until it is killed, told to stop or refused.
//   node gallery-child.cjs FILE FIRST [MOST [keep]]
const { writeSync } = require('node:fs');
const { Gallery } = require('../../dist/gallery');
const { seededNumbers } = require('../../dist/depth/seeded.js');

const dimension = 32;
const direction = (name) => {
  const numbers = seededNumbers(name, dimension).map((u) => u - 0.5);
  const length = Math.hypot(...numbers);
  return numbers.map((number) => number / length);
};
const say = (text) => writeSync(1, `${text}\n`);

async function main([file, first, most = '1000000000', keep]) {
  if (process.getuid() === 0 && process.env.GALLERY_CHILD_UID) process.setuid(Number(process.env.GALLERY_CHILD_UID));
  const gallery = await Gallery.open(file, { recognizer: { dimension, metric: 'l2', threshold: 0.6, model: 'made' } });
  say('open');
  process.on('SIGXFSZ', () => {}); // with a limit on the size of files: let write() fail instead of ending the process
  let next = Number(first);
  const last = next + Number(most);
  let refusal;
  const enroll = async () => {
    while (next < last && refusal === undefined) {
      const name = `Person ${next++}`;
      // Two faces at once: a person with one is half there.
      const features = new Float32Array(2 * dimension);
      features.set(direction(name));
      features.set(direction(`${name} too`), dimension);
      try {
        await gallery.enrollFeatures(name, features);
        say(`+${name}`);
        if (keep === undefined && name.endsWith('7')) {
          say(`?${name}`); // from here on it may be gone
          await gallery.remove(name);
          say(`-${name}`);
        }
      } catch (error) {
        refusal ??= error;
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, enroll));
  if (refusal !== undefined) {
    say(`!${refusal.code} ${refusal.message}`);
    // It still answers.
    const [decision] = await gallery.identifyFeatures(direction('Person 1'));
    say(`=${decision.found && decision.person.name}`);
  }
  await gallery.close();
  say('closed');
}

main(process.argv.slice(2)).catch((error) => {
  say(`!${error.code} ${error.message}`);
});
