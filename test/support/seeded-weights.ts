import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeSafetensors } from '../../dist/models/safetensors';
import type { TensorMap } from '../../dist/models/tensor';
import { seeded } from './seeded';

const count = (shape: number[]) => shape.reduce((a, b) => a * b, 1);

/** What test/golden/README.md says of FaceNet's variables. */
function facenetVariable(name: string, shape: number[]): Float32Array {
  const kernel = name.endsWith('.weight') && shape.length > 1;
  const aroundOne = name.endsWith('.running_var') || (name.endsWith('.weight') && shape.length === 1);
  const factor = Math.fround(Math.sqrt(3 / count(shape.slice(1))));
  return seeded(name, count(shape)).map((u) => (aroundOne ? 0.75 + u * 0.5 : Math.fround(u * 2 - 1) * (kernel ? factor : Math.fround(0.1))));
}

export function facenetTensors(seed = ''): TensorMap {
  const { variables } = JSON.parse(readFileSync(join(__dirname, '../golden/facenet/facenet.json'), 'utf8')) as { variables: [string, number[]][] };
  return new Map(
    variables.map(([name, shape]) => {
      const data = facenetVariable(seed + name, shape);
      return [name, { dtype: 'F32' as const, shape, data: new Uint8Array(data.buffer) }];
    }),
  );
}

/** A safetensors file of seeded FaceNet weights in a folder of its own; `remove` takes both away. */
export async function seededFacenet(seed = ''): Promise<{ file: string; folder: string; remove(): void }> {
  const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-facenet-'));
  const file = join(folder, 'facenet.safetensors');
  await writeSafetensors(file, { tensors: facenetTensors(seed), metadata: { model: 'facenet', source: 'seeded' } });
  return { file, folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
