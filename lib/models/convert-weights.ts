import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { FaissVisionError } from '../error';
import { openCheckpoint } from './checkpoint';
import { isCoreMl, readCoreMl } from './coreml';
import { facenetVariables } from './facenet-variables';
import { fcrnVariables, type Variable } from './fcrn-variables';
import { isMissing } from './files';
import { isNumpyFile, readNumpyDictionary } from './numpy-file';
import { streamSafetensors } from './safetensors-stream';
import { type SourceTensors, toFloat32 } from './source';
import type { Tensor } from './tensor';
import { openTorchFile } from './torch-file';
import { Zip } from './zip';

/** Called as variables are written. */
export type OnConvert = (progress: { done: number; total: number }) => void;

export interface ConvertedWeights {
  model: 'fcrn' | 'facenet';
  /** How many variables were written. */
  variables: number;
  /** The file's metadata: model, source, and for FCRN which way is near and the unit where they are known. */
  metadata: Record<string, string>;
}

interface Source {
  model: ConvertedWeights['model'];
  tensors: SourceTensors;
  metadata: Record<string, string>;
}

/** The authors' weights were trained on NYU Depth v2, whose depths are metres. */
const METRES = { near: 'low', unit: 'metres' };
/** In the article, which runs Apple's file, a high value is near. */
const ARTICLE = { near: 'high' };

const KNOWN =
  "FCRN's weights as .npy (NYU_ResNet-UpProj.npy), as a TensorFlow checkpoint (its .index beside its .data files) or as Core ML " +
  '(FCRN.mlmodel), or FaceNet as a PyTorch state dict (.pt)';

/**
 * Turns the weights of FCRN or FaceNet, in the formats in which others give them away, into this package's own: one
 * safetensors file under the variables' original names. What the input is shows in its content, not in its name. Nothing in
 * it is ever executed. Takes about as much memory as the input has bytes; a checkpoint, only its largest variable.
 *
 * @param input a file; of a checkpoint any of its files, their common beginning, or the folder that it lies in
 * @param output written whole or not at all
 * @throws ERR_WEIGHTS_NOT_FOUND, ERR_WEIGHTS_FORMAT for what is none of these, ERR_WEIGHTS_CORRUPT (for numbers that are not
 * finite, too), ERR_WEIGHTS_UNSAFE, ERR_WEIGHTS_MISMATCH for another network, with the first variable that is missing, ERR_ARCHIVE_CORRUPT
 */
export async function convertWeights(input: string, output: string, onProgress?: OnConvert): Promise<ConvertedWeights> {
  for (const [name, value] of [['input', input], ['output', output]] as const) {
    if (typeof value !== 'string' || value === '') {
      throw new FaissVisionError('ERR_INVALID_ARGUMENT', `\`${name}\` must be a path, got ${String(value)}`);
    }
  }
  return write(await open(input), input, output, onProgress);
}

/**
 * The same for what has to be FaceNet's.
 * @throws as `convertWeights`, and ERR_WEIGHTS_MISMATCH for FCRN's weights
 * @internal
 */
export async function convertFacenet(input: string, output: string): Promise<void> {
  const source = await open(input);
  if (source.model !== 'facenet') throw new FaissVisionError('ERR_WEIGHTS_MISMATCH', `${input}: weights of ${source.model}, expected facenet's`);
  await write(source, input, output);
}

async function write({ model, tensors, metadata }: Source, input: string, output: string, onProgress: OnConvert = () => {}): Promise<ConvertedWeights> {
  const variables = model === 'fcrn' ? fcrnVariables() : facenetVariables();
  for (const variable of variables) requireVariable(tensors, variable, model, input);
  const streamed = variables.map(({ name, shape }) => {
    const { dtype, data } = tensors.get(name)!;
    return { name, shape, dtype: 'F32' as const, data: async () => finite({ dtype, shape, data: await data() }, `${input}: ${name}`) };
  });
  const about = { format: 'faiss-vision', model, ...metadata };
  await streamSafetensors(output, streamed, about, (done) => onProgress({ done, total: variables.length }));
  return { model, variables: variables.length, metadata: about };
}

/** As float32. Numbers that are not finite are refused here, while it is known which file they come from. */
function finite(tensor: Tensor, name: string): Uint8Array {
  const bytes = toFloat32(tensor, name);
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const numbers = new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
  const at = numbers.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return bytes;
  throw new FaissVisionError('ERR_WEIGHTS_CORRUPT', `${name} holds ${numbers[at]}, expected finite numbers`);
}

function requireVariable(tensors: SourceTensors, { name, shape }: Variable, model: string, input: string): void {
  const found = tensors.get(name);
  const wanted = `${name} [${shape.join(', ')}]`;
  if (!found) throw new FaissVisionError('ERR_WEIGHTS_MISMATCH', `${input}: the variable ${wanted} of ${model} is missing`);
  if (found.shape.length !== shape.length || found.shape.some((extent, axis) => extent !== shape[axis])) {
    throw new FaissVisionError('ERR_WEIGHTS_MISMATCH', `${input}: ${name} has shape [${found.shape.join(', ')}], expected ${wanted} of ${model}`);
  }
}

async function open(input: string): Promise<Source> {
  const index = await checkpointIndex(input);
  if (index) return { model: 'fcrn', tensors: await openCheckpoint(index), metadata: { source: sourceOf(index), ...METRES } };

  const file = await read(input);
  const source = sourceOf(input);
  if (isNumpyFile(file)) return { model: 'fcrn', tensors: readNumpyDictionary(file, input), metadata: { source, ...METRES } };
  if (Zip.matches(file) || file[0] === 0x80) {
    return { model: 'facenet', tensors: openTorchFile(file, input), metadata: { source } };
  }
  if (isCoreMl(file)) return { model: 'fcrn', tensors: readCoreMl(file, input), metadata: { source, ...ARTICLE } };
  if (file.length === 0) throw new FaissVisionError('ERR_WEIGHTS_CORRUPT', `${input}: the file is empty, expected ${KNOWN}`);
  throw new FaissVisionError('ERR_WEIGHTS_FORMAT', `${input}: its content is of no known format, expected ${KNOWN}`);
}

function sourceOf(file: string): string {
  return path.basename(file);
}

/** The index of the checkpoint that a path means, if it means one. */
async function checkpointIndex(input: string): Promise<string | undefined> {
  const stat = await statOf(input);
  if (stat?.isDirectory()) {
    const found = (await fs.readdir(input)).filter((name) => name.endsWith('.index')).sort();
    if (found.length === 1) return path.join(input, found[0]!);
    const message = `${input}: a folder with ${found.length} files that end in .index, expected one checkpoint's`;
    throw new FaissVisionError('ERR_WEIGHTS_NOT_FOUND', message);
  }
  const data = /\.data-\d{5}-of-\d{5}$/;
  const index = input.endsWith('.index') ? input : `${input.replace(data, '')}.index`;
  if (index === input) return stat ? index : undefined;
  if (data.test(input) || !stat) return (await statOf(index)) ? index : undefined;
  return undefined;
}

async function statOf(file: string) {
  try {
    return await fs.stat(file);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function read(file: string): Promise<Buffer> {
  try {
    return await fs.readFile(file);
  } catch (error) {
    const why = isMissing(error) ? 'there is no such file' : (error as Error).message;
    throw new FaissVisionError('ERR_WEIGHTS_NOT_FOUND', `${file} cannot be read: ${why}`, { cause: error });
  }
}
