/** Element types, named as safetensors names them, with their size in bytes. */
export const ELEMENT_SIZE = {
  F64: 8,
  I64: 8,
  U64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

export type ElementType = keyof typeof ELEMENT_SIZE;

/** A tensor at rest: `data` holds its elements in C order, little endian, without gaps. */
export interface Tensor {
  dtype: ElementType;
  shape: readonly number[];
  data: Uint8Array;
}

/** Tensors by name, in the order of their file. */
export type TensorMap = Map<string, Tensor>;

/** Number of elements of a shape; 1 for a scalar (`[]`). Infinity or an unsafe integer where it overflows. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}
