import { FaissVisionError } from '../error';
import { type ElementType, type Tensor, elementCount } from './tensor';

/** A tensor of a file that is being converted; its data are read, or put in order, when they are asked for. */
export interface SourceTensor {
  dtype: ElementType;
  shape: readonly number[];
  data(): Uint8Array | Promise<Uint8Array>;
}

export type SourceTensors = Map<string, SourceTensor>;

/** Those of a file that is in memory. */
export type TensorsInMemory = Map<string, Omit<SourceTensor, 'data'> & { data(): Uint8Array }>;

/** The same numbers as little-endian float32. The input's own bytes where that is what they are. */
export function toFloat32({ dtype, shape, data }: Tensor, name: string): Uint8Array {
  if (dtype === 'F32') return data;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const read = {
    F64: (i: number) => view.getFloat64(8 * i, true),
    F16: (i: number) => halfToNumber(view.getUint16(2 * i, true)),
    BF16: (i: number) => bfloatToNumber(view.getUint16(2 * i, true)),
  }[dtype as 'F64'];
  if (!read) throw new FaissVisionError('ERR_WEIGHTS_MISMATCH', `${name} has elements of type ${dtype}, expected F32, F64, F16 or BF16`);
  const out = new Float32Array(elementCount(shape));
  for (let i = 0; i < out.length; i++) out[i] = read(i);
  return new Uint8Array(out.buffer);
}

/** IEEE 754 binary16. */
function halfToNumber(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const size = exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
}

const scratch = new DataView(new ArrayBuffer(4));

function bfloatToNumber(bits: number): number {
  scratch.setUint32(0, bits * 65536);
  return scratch.getFloat32(0);
}
