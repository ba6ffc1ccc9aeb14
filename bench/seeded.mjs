// The golden data's seeded numbers (test/golden/README.md), for weights where the real ones cannot be had.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { seededNumbers } = require('../dist/depth/seeded.js');
const { writeSafetensors } = require('../dist/models/safetensors.js');

export const seeded = seededNumbers;

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
