import { FaissVisionError } from './error';
import { invalid } from './image/check';

/**
 * The `device` option of everything that has one. This build computes on the processor alone.
 * @throws ERR_CUDA_UNAVAILABLE, ERR_INVALID_ARGUMENT
 * @internal
 */
export function checkDevice(device: unknown): void {
  if (device === undefined || device === 'cpu') return;
  if (typeof device === 'string' && /^cuda(:\d+)?$/.test(device)) {
    throw new FaissVisionError('ERR_CUDA_UNAVAILABLE', `\`device\` '${device}' cannot be used: this build of faiss-vision has no CUDA`);
  }
  throw invalid('device', "'cpu', 'cuda' or 'cuda:N'", device);
}
