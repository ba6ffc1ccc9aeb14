import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { FaissVisionError } from '../error';
import { facenetVariables } from './facenet-variables';
import { isMissing } from './files';
import { writeSafetensors } from './safetensors';
import type { Tensor } from './tensor';
import { readTorchFile } from './torch-file';

/** Called as variables are converted. */
export type OnConvert = (progress: { done: number; total: number }) => void;

export interface ConvertedWeights {
  model: 'facenet';
  /** How many variables were written. */
  variables: number;
  /** The file's metadata. */
  metadata: Record<string, string>;
}

/**
 * Turns a PyTorch file with the state dict of facenet-pytorch's InceptionResnetV1 into this project's safetensors, which
 * keeps the variables' names. What the network does not need (the classifier, training's counters) is dropped. Nothing of
 * the file is ever executed.
 *
 * @throws ERR_WEIGHTS_NOT_FOUND, ERR_WEIGHTS_MISMATCH naming the variable that is missing or wrong, and what
 *   `readTorchFile` throws
 */
export async function convertWeights(input: string, output: string, onProgress: OnConvert = () => {}): Promise<ConvertedWeights> {
  const bytes = await fs.readFile(input).catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
    throw new FaissVisionError('ERR_WEIGHTS_NOT_FOUND', `${input} cannot be read: there is no such file`, { cause });
  });
  const found = readTorchFile(bytes, input);
  const tensors = new Map<string, Tensor>();
  const expected = facenetVariables();
  for (const [name, shape] of expected) {
    const tensor = found.get(name);
    const wanted = `${name} [${shape.join(', ')}]`;
    if (!tensor) throw new FaissVisionError('ERR_WEIGHTS_MISMATCH', `${input}: the variable ${wanted} of facenet is missing`);
    if (tensor.dtype !== 'F32' || tensor.shape.join() !== shape.join()) {
      const message = `${input}: ${name} is ${tensor.dtype} [${tensor.shape.join(', ')}], expected F32 ${wanted} of facenet`;
      throw new FaissVisionError('ERR_WEIGHTS_MISMATCH', message);
    }
    tensors.set(name, tensor);
    onProgress({ done: tensors.size, total: expected.size });
  }
  const metadata = { format: 'faiss-vision', model: 'facenet', source: path.basename(input) };
  await writeSafetensors(output, { tensors, metadata });
  return { model: 'facenet', variables: tensors.size, metadata };
}
