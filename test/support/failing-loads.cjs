// Loads a model whose features overflow again and again, and says how much more memory that takes each time.
const { mkdtempSync, readFileSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { FaceRecognizer } = require('../../dist/face');
const { modelPath } = require('../../dist/models/cache');

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-loads-'));
const weights = join(folder, 'large.safetensors');
const bytes = readFileSync(modelPath('resnet128'));
for (let at = 8 + Number(bytes.readBigUInt64LE(0)); at < bytes.length; at += 4) bytes.writeFloatLE(1e30, at);
writeFileSync(weights, bytes);

const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
const options = { model: 'resnet128', weights, device: process.argv[2] };
async function load(times) {
  let code;
  for (let i = 0; i < times; i++) ({ code } = await FaceRecognizer.load(options).catch((error) => error));
  return code;
}

(async () => {
  await load(3); // after which memory is used again
  const before = resident();
  const code = await load(6);
  console.log(JSON.stringify({ code, grown: resident() - before }));
  rmSync(folder, { recursive: true });
})();
