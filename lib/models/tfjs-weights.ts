import { FaissVisionError } from '../error';
import { type Tensor, type TensorMap, elementCount } from './tensor';

interface WeightEntry {
  name: string;
  shape: number[];
  dtype: string;
  quantization?: { dtype: string; scale: number; min: number };
}

/**
 * Reads TensorFlow.js weights: the groups of a weights manifest and the bytes that they describe, one entry after the
 * other. An entry quantised to a byte is restored as `byte * scale + min`, computed in double precision and rounded
 * once to float32, as TensorFlow.js's `decodeWeights` does, so that the numbers are the same to the last bit.
 *
 * @param manifest text of the `…-weights_manifest.json`
 * @param bytes the manifest's files, joined in its order
 * @param name names the weights in errors
 * @returns F32 tensors with the manifest's names, shapes (TensorFlow's order: a convolution is HWIO) and order
 * @throws ERR_WEIGHTS_FORMAT for a manifest that is not one, or an element type that face models do not have
 * @throws ERR_WEIGHTS_CORRUPT where the bytes are fewer or more than the manifest describes
 */
export function readTfjsWeights(manifest: string, bytes: Uint8Array, name: string): TensorMap {
  const tensors: TensorMap = new Map();
  let at = 0;
  for (const entry of parseManifest(manifest, name)) {
    const length = elementCount(entry.shape) * (entry.quantization ? 1 : 4);
    if (at + length > bytes.byteLength) {
      throw new FaissVisionError(
        'ERR_WEIGHTS_CORRUPT',
        `${name}: cut short: ${entry.name} needs ${length} bytes from byte ${at}, there are ${bytes.byteLength}`,
      );
    }
    tensors.set(entry.name, decode(entry, bytes.subarray(at, at + length)));
    at += length;
  }
  if (at !== bytes.byteLength) {
    throw new FaissVisionError('ERR_WEIGHTS_CORRUPT', `${name}: the manifest describes ${at} bytes, there are ${bytes.byteLength}`);
  }
  return tensors;
}

function decode({ shape, quantization }: WeightEntry, bytes: Uint8Array): Tensor {
  if (!quantization) return { dtype: 'F32', shape, data: bytes };
  const { scale, min } = quantization;
  const data = new Uint8Array(bytes.length * 4);
  const view = new DataView(data.buffer);
  for (const [i, byte] of bytes.entries()) view.setFloat32(i * 4, byte * scale + min, true);
  return { dtype: 'F32', shape, data };
}

function parseManifest(manifest: string, name: string): WeightEntry[] {
  const format = (what: string, cause?: unknown): FaissVisionError =>
    new FaissVisionError('ERR_WEIGHTS_FORMAT', `${name}: ${what}`, { cause });
  let groups: unknown;
  try {
    groups = JSON.parse(manifest);
  } catch (cause) {
    throw format('the weights manifest is not JSON', cause);
  }
  if (!Array.isArray(groups) || !groups.every((group) => Array.isArray(group?.weights))) {
    throw format('the weights manifest is not a list of groups of weights');
  }
  const entries = groups.flatMap((group) => group.weights as unknown[]);
  for (const entry of entries) {
    if (!isWeightEntry(entry)) throw format(`the weights manifest has the entry ${JSON.stringify(entry)?.slice(0, 200)}`);
    const { dtype, quantization } = entry;
    if (dtype !== 'float32') throw format(`${entry.name} has dtype ${dtype}, expected float32`);
    if (quantization && quantization.dtype !== 'uint8') {
      throw format(`${entry.name} is quantised to ${quantization.dtype}, expected uint8`);
    }
  }
  return entries as WeightEntry[];
}

function isWeightEntry(value: unknown): value is WeightEntry {
  if (typeof value !== 'object' || value === null) return false;
  const { name, shape, dtype, quantization } = value as Partial<WeightEntry>;
  return (
    typeof name === 'string' &&
    typeof dtype === 'string' &&
    Array.isArray(shape) &&
    shape.every((n) => Number.isSafeInteger(n) && n >= 0) &&
    (quantization === undefined || (Number.isFinite(quantization.scale) && Number.isFinite(quantization.min)))
  );
}
