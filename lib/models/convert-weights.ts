import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { FaissVisionError } from '../error';
import { facenetDifference } from './facenet-variables';
import { isMissing } from './files';
import type { OnProgress } from './progress';
import { writeSafetensors } from './safetensors';
import { readTorchFile } from './torch-file';

/**
 * Turns a PyTorch file with the state dict of facenet-pytorch's InceptionResnetV1 into this project's safetensors, which
 * keeps the variables' names. The classifier (`logits.*`) and training's counters are dropped. Nothing of the file is
 * ever executed.
 *
 * @throws ERR_WEIGHTS_NOT_FOUND, ERR_WEIGHTS_MISMATCH naming the variable that is missing or wrong, and what
 *   `readTorchFile` throws
 */
export async function convertWeights(input: string, output: string, onProgress: OnProgress = () => {}): Promise<void> {
  const name = path.basename(input);
  const bytes = await fs.readFile(input).catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
    throw new FaissVisionError('ERR_WEIGHTS_NOT_FOUND', `${input} is not there`, { cause });
  });
  const tensors = new Map([...readTorchFile(bytes, name)].filter(([variable]) => !/^logits\.|\.num_batches_tracked$/.test(variable)));
  const difference = facenetDifference(tensors);
  if (difference) throw new FaissVisionError('ERR_WEIGHTS_MISMATCH', `${name} does not hold InceptionResnetV1 of facenet-pytorch: ${difference}`);
  await writeSafetensors(output, { tensors, metadata: { format: 'faiss-vision', model: 'facenet', source: name } });
  onProgress({ step: 'write', file: output });
}
