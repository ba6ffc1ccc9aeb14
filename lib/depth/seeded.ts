import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { modelsFolder } from '../models/cache';
import { fcrnVariables, type Variable } from '../models/fcrn-variables';
import { isMissing } from '../models/files';
import { withFolderLock } from '../models/lock';
import { streamSafetensors } from '../models/safetensors-stream';
import { elementCount } from '../models/tensor';

/** In the file's name: raise it when the rule below changes. */
const VERSION = 1;

/**
 * Path of a weights file for FCRN whose numbers come from the variables' names (test/golden/README.md has the rule). It is
 * made where it is not there yet: 254 MB in the models folder. It lets everything run; the depths mean nothing.
 */
export async function seededWeights(): Promise<string> {
  const folder = modelsFolder();
  const file = path.join(folder, `fcrn-seeded-${VERSION}.safetensors`);
  if (await exists(file)) return file;
  await withFolderLock(folder, () => {}, async () => {
    if (await exists(file)) return; // another process made it meanwhile
    const tensors = fcrnVariables().map((variable) => ({ ...variable, dtype: 'F32' as const, data: () => seededData(variable) }));
    await streamSafetensors(file, tensors, { format: 'faiss-vision', model: 'fcrn', source: 'seeded' });
  });
  return file;
}

/** A variable's numbers, little endian; other ones for another seed, which is put before the name. */
export function seededData({ name, shape }: Variable, seed = ''): Uint8Array {
  const numbers = seededNumbers(seed + name, elementCount(shape));
  const spread = (factor: number, offset: number) => {
    for (let i = 0; i < numbers.length; i++) numbers[i] = Math.fround((numbers[i]! * 2 - 1) * factor) + offset;
  };
  switch (name.slice(name.lastIndexOf('/') + 1)) {
    case 'weights':
      spread(Math.fround(Math.sqrt(3 / elementCount(shape.slice(0, -1)))), 0);
      break;
    case 'scale':
    case 'variance':
      for (let i = 0; i < numbers.length; i++) numbers[i] = 0.75 + numbers[i]! * 0.5;
      break;
    default:
      // The last one lifts the result, so that the network's last ReLU leaves something.
      spread(Math.fround(0.1), name === 'ConvPred/biases' ? 100 : 0);
  }
  return new Uint8Array(numbers.buffer);
}

/** Numbers in [0, 1): FNV-1a of the name, then MurmurHash3's finaliser of a counter. */
export function seededNumbers(name: string, count: number): Float32Array {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  const numbers = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    let x = (hash + Math.imul(i, 0x9e3779b9)) | 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    x ^= x >>> 16;
    numbers[i] = (x >>> 8) / 2 ** 24;
  }
  return numbers;
}

async function exists(file: string): Promise<boolean> {
  try {
    return (await fs.stat(file)).isFile();
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
