import { FaissVisionError } from '../error';
import { writeAtomically } from './files';
import { ELEMENT_SIZE, type ElementType, type Tensor, type TensorMap, elementCount } from './tensor';

/** What a safetensors file holds. `metadata` is the file's `__metadata__`: strings only. */
export interface Safetensors {
  tensors: TensorMap;
  metadata: Record<string, string>;
}

// The reference implementation refuses longer headers too; a real one has a few hundred bytes per tensor.
const MAX_HEADER_BYTES = 100_000_000;

/**
 * The bytes of a safetensors file. The same tensors and metadata in the same order give the same bytes.
 *
 * Layout (https://github.com/huggingface/safetensors, "Format"): header length as a little-endian u64, JSON header
 * padded with spaces so that the data begin on a multiple of 8, then the data without gaps.
 */
export function encodeSafetensors({ tensors, metadata }: Safetensors): Buffer {
  // Wider elements first, so that every tensor is aligned to its own element size.
  const ordered = [...tensors].sort(([, a], [, b]) => ELEMENT_SIZE[b.dtype] - ELEMENT_SIZE[a.dtype]);
  const header: [string, unknown][] = [['__metadata__', metadata]];
  let end = 0;
  for (const [name, { dtype, shape, data }] of ordered) {
    if (data.byteLength !== elementCount(shape) * ELEMENT_SIZE[dtype]) {
      throw new FaissVisionError(
        'ERR_WEIGHTS_FORMAT',
        `tensor ${name}: ${dtype} [${shape.join(', ')}] needs ${elementCount(shape) * ELEMENT_SIZE[dtype]} bytes, got ${data.byteLength}`,
      );
    }
    const begin = end;
    end += data.byteLength;
    header.push([name, { dtype, shape, data_offsets: [begin, end] }]);
  }
  // Object.fromEntries defines own properties, so a tensor named "__proto__" stays a tensor.
  const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const padding = (8 - (json.length % 8)) % 8;
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length + padding));
  return Buffer.concat([length, json, Buffer.alloc(padding, ' '), ...ordered.map(([, tensor]) => tensor.data)]);
}

/** Writes a safetensors file; readers see the old file or the whole new one, never a part. */
export async function writeSafetensors(path: string, content: Safetensors): Promise<void> {
  await writeAtomically(path, encodeSafetensors(content));
}

/**
 * Reads the bytes of a safetensors file. The tensors are views of `bytes`.
 *
 * @param name names the file in errors
 * @throws ERR_WEIGHTS_CORRUPT where the bytes are cut short or the header contradicts itself or the data
 */
export function decodeSafetensors(bytes: Uint8Array, name = 'safetensors'): Safetensors {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const corrupt = (what: string, cause?: unknown): FaissVisionError =>
    new FaissVisionError('ERR_WEIGHTS_CORRUPT', `${name}: ${what}`, { cause });

  if (file.length < 8) throw corrupt(`expected a header length of 8 bytes, got ${file.length} bytes`);
  const headerLength = Number(file.readBigUInt64LE(0));
  if (headerLength > MAX_HEADER_BYTES || headerLength > file.length - 8) {
    throw corrupt(`the header says ${headerLength} bytes, the file has ${file.length - 8} after it`);
  }
  const data = file.subarray(8 + headerLength);
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(file.subarray(8, 8 + headerLength)));
  } catch (cause) {
    throw corrupt('the header is not JSON', cause);
  }
  if (!isRecord(header)) throw corrupt('the header is not a JSON object');

  const metadata: Record<string, string> = {};
  const found: [string, Tensor, number][] = [];
  for (const [key, value] of Object.entries(header)) {
    if (key === '__metadata__') {
      if (!isRecord(value) || !Object.values(value).every((text) => typeof text === 'string')) {
        throw corrupt('__metadata__ is not an object of strings');
      }
      Object.assign(metadata, value);
    } else {
      const { dtype, shape, begin, end } = checkEntry(key, value, data.length, corrupt);
      found.push([key, { dtype, shape, data: data.subarray(begin, end) }, begin]);
    }
  }

  // Data without gaps and overlaps also means: no name stands twice in the header (JSON keeps the last one only).
  let position = 0;
  for (const [key, tensor, begin] of [...found].sort(([, a, x], [, b, y]) => x - y || a.data.length - b.data.length)) {
    if (begin !== position) throw corrupt(`tensor ${key} begins at byte ${begin} of the data, expected ${position}`);
    position += tensor.data.length;
  }
  if (position !== data.length) throw corrupt(`the tensors cover ${position} bytes, the data have ${data.length}`);
  return { tensors: new Map(found.map(([key, tensor]) => [key, tensor])), metadata };
}

function checkEntry(key: string, value: unknown, available: number, corrupt: (what: string) => FaissVisionError) {
  if (!isRecord(value)) throw corrupt(`tensor ${key} is not a JSON object`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(ELEMENT_SIZE, dtype)) {
    throw corrupt(`tensor ${key} has dtype ${JSON.stringify(dtype)}, expected one of ${Object.keys(ELEMENT_SIZE).join(', ')}`);
  }
  if (!isSizes(shape)) throw corrupt(`tensor ${key} has shape ${JSON.stringify(shape)}`);
  if (!isSizes(offsets) || offsets.length !== 2) throw corrupt(`tensor ${key} has data_offsets ${JSON.stringify(offsets)}`);
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > available) {
    throw corrupt(`tensor ${key} lies at bytes ${begin} to ${end} of the data, which have ${available}`);
  }
  const expected = elementCount(shape) * ELEMENT_SIZE[dtype as ElementType];
  if (end - begin !== expected) {
    throw corrupt(`tensor ${key}: ${dtype} [${shape.join(', ')}] needs ${expected} bytes, its data_offsets give ${end - begin}`);
  }
  return { dtype: dtype as ElementType, shape, begin, end };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}
