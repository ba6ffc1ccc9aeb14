// The golden data's seeded numbers (test/golden/README.md), for weights where the real ones cannot be had.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { writeSafetensors } = createRequire(import.meta.url)('../dist/models/safetensors.js');

export function seeded(name, count) {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return Float32Array.from({ length: count }, (_, i) => {
    let x = (hash + Math.imul(i, 0x9e3779b9)) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return ((x ^ (x >>> 16)) >>> 8) / 2 ** 24;
  });
}

/** A safetensors file of FaceNet's variables. */
export async function seededFacenet(file) {
  const { variables } = JSON.parse(readFileSync(new URL('../test/golden/facenet/facenet.json', import.meta.url), 'utf8'));
  const tensors = new Map(
    variables.map(([name, shape]) => {
      const count = shape.reduce((a, b) => a * b, 1);
      const aroundOne = name.endsWith('.running_var') || (name.endsWith('.weight') && shape.length === 1);
      const size = name.endsWith('.weight') ? Math.sqrt((3 * shape[0]) / count) : 0.1;
      const data = seeded(name, count).map((u) => (aroundOne ? 0.75 + u * 0.5 : (u * 2 - 1) * size));
      return [name, { dtype: 'F32', shape, data: new Uint8Array(data.buffer) }];
    }),
  );
  await writeSafetensors(file, { tensors, metadata: { model: 'facenet', source: 'seeded' } });
}
