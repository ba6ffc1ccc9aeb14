// In an installed copy: Ann and Index find what was put in. The answers, as JSON, are the same on every processor and Node.
const { Ann, Index } = require('faiss-vision/ann');

let state = 1;
const random = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;
const vectors = Float32Array.from({ length: 500 * 32 }, () => random() - 0.5);

const ann = new Ann({ dimension: 32, threshold: 0.9 });
ann.addSync(vectors);
const answers = [ann.searchSync(vectors.slice(32 * 7, 32 * 8))[0].index];
for (const description of ['Flat', 'HNSW16', 'IVF8,Flat', 'SQ8', 'IVF8,SQ8', 'PCA16,Flat', 'LSH']) {
  const index = Index.factory(32, description);
  index.trainSync(vectors);
  index.addSync(vectors);
  answers.push(Array.from(index.searchSync(vectors.slice(0, 32 * 20), 1).labels, Number).join(' '));
}
console.log(JSON.stringify(answers));
