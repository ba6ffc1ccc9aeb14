// In an installed copy: node installed-faces.cjs ONE SAME OTHER, three photos. Are the first two of one person, and the third?
const { FaceRecognizer } = require('faiss-vision');

async function main() {
  const recognizer = await FaceRecognizer.load({ model: 'resnet128' });
  const [a, b, c] = await Promise.all(process.argv.slice(2, 5).map(async (photo) => (await recognizer.faces(photo))[0].features));
  const near = (x, y) => Math.hypot(...x.map((value, i) => value - y[i])) < recognizer.threshold;
  const libraries = process.report.getReport().sharedObjects;
  console.log(JSON.stringify({ same: near(a, b), other: near(a, c), libraries }));
}
main().catch(({ code, message }) => console.log(code, message));
