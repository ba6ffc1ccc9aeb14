import { FaissVisionError } from './error';
import { invalid } from './image/check';

/** Where to compute: the processor, the first GPU, or GPU number N, counted from 0. */
export type Device = 'cpu' | 'cuda' | `cuda:${number}`;

/**
 * The `device` option of everything that has one: the GPU's number (`'cuda'` is 0), undefined for the processor.
 * Whether there is such a GPU only the addon can say.
 * @throws ERR_INVALID_ARGUMENT
 * @internal
 */
export function gpuNumber(device: unknown): number | undefined {
  if (device === undefined || device === 'cpu') return undefined;
  const match = typeof device === 'string' ? /^cuda(?::(0|[1-9]\d{0,2}))?$/.exec(device) : null;
  if (match === null) throw invalid('device', "'cpu', 'cuda' or 'cuda:N'", device);
  return Number(match[1] ?? 0);
}

/**
 * Where networks run, and what they multiply in there, as the addon takes both. Whether it can be used, `checkDevice` of the addon
 * says: it needs a driver's word. `'torch'` is for tests: what a GPU would compute, by torch's own operations on the processor.
 * @throws ERR_INVALID_ARGUMENT, ERR_UNSUPPORTED for fp16 on the processor
 * @internal
 */
export function networkDevice(device: unknown = 'cpu', precision: unknown = 'fp32'): { device: string; precision: string } {
  const gpu = device === 'torch' ? undefined : gpuNumber(device);
  if (precision !== 'fp32' && precision !== 'bf16' && precision !== 'fp16') throw invalid('precision', "'fp32', 'bf16' or 'fp16'", precision);
  const name = gpu === undefined ? String(device) : `cuda:${gpu}`;
  if (name === 'cpu' && precision === 'fp16') {
    throw new FaissVisionError('ERR_UNSUPPORTED', "`precision` 'fp16' is for CUDA alone; take 'bf16' or 'fp32' on the processor");
  }
  return { device: name, precision };
}
