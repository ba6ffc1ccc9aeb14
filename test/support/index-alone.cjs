// What wants a process of its own: node --expose-gc index-alone.cjs forgotten|memory
const { Index } = require('faiss-vision/ann');

const d = 64;
const vectors = (n) => Float32Array.from({ length: n * d }, (_, i) => Math.sin(i * 12.9898) * 10);

/** Operations whose index nobody holds on to. */
async function forgotten() {
  const x = vectors(2000);
  const start = (i) => {
    const index = Index.factory(d, 'Flat');
    index.add(x.slice());
    const waiting = index.search(x.slice(i * d, (i + 300) * d), 1);
    index.close();
    return waiting;
  };
  const lone = (i) => {
    const index = Index.factory(d, 'Flat');
    index.addSync(x);
    return index.search(x.slice(i * d, (i + 300) * d), 1);
  };
  const searches = Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? start(i) : lone(i)));
  for (let i = 0; i < 20; i++) {
    gc();
    await new Promise((passed) => setImmediate(passed));
  }
  const results = await Promise.all(searches);
  return { right: results.filter(({ labels }, i) => labels.every((label, j) => Number(label) === i + j)).length };
}

/** How much memory 200 indexes leave behind that were neither closed nor kept. */
async function memory() {
  const x = vectors(8000);
  const make = async () => {
    const index = Index.factory(d, 'Flat');
    await index.add(x);
  };
  for (let i = 0; i < 5; i++) await make();
  gc();
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 200; i++) await make(); // V8 is told how much each holds, so that it collects by itself
  let held = Infinity;
  for (let i = 0; i < 100 && held > 50 * x.byteLength; i++) {
    gc();
    await new Promise((passed) => setTimeout(passed, 10)); // what was collected is freed on another thread
    held = process.memoryUsage.rss() - before;
  }
  return { held, each: x.byteLength };
}

({ forgotten, memory })[process.argv[2]]().then((result) => console.log(JSON.stringify(result)));
