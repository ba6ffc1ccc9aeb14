import { visionAddon, type NativeDeviceFeatures } from './addon';
import type { Device } from './device';
import { FaissVisionError } from './error';

/**
 * Features that stay in the memory of the GPU that computed them, for `index.add` and `index.search`: an index on that GPU reads
 * them there, any other gets a copy. Made by `recognizer.embed(chips, { keepOnDevice: true })`. They belong to this thread.
 */
export class DeviceFeatures {
  /** Where they lie, such as `'cuda:0'`. */
  readonly device: Device;
  /** How many features there are. */
  readonly count: number;
  /** Numbers in each. */
  readonly dimension: number;
  #handle: object | undefined;

  /** @internal */
  constructor({ handle, device, count, dimension }: NativeDeviceFeatures) {
    this.#handle = handle;
    this.device = device;
    this.count = count;
    this.dimension = dimension;
  }

  /** Copies them to the processor's memory: count x dimension numbers. @throws ERR_CLOSED after `dispose` */
  async toArray(): Promise<Float32Array> {
    return visionAddon().readFeatures(DeviceFeatures.handle(this));
  }

  /**
   * Gives their memory back at once, or as soon as the calls that were given them are done. Without, it is given back when nothing
   * refers to them any more and JavaScript collects its garbage. Later calls with them reject with ERR_CLOSED.
   */
  dispose(): void {
    if (this.#handle !== undefined) visionAddon().releaseFeatures(this.#handle);
    this.#handle = undefined;
  }

  /** @internal */
  static handle(features: DeviceFeatures): object {
    if (features.#handle === undefined) throw new FaissVisionError('ERR_CLOSED', 'these features were given back by dispose()');
    return features.#handle;
  }
}

/** What an addon takes for such features; anything else as it is. @throws ERR_CLOSED @internal */
export function handleOf<T>(vectors: T): T {
  return vectors instanceof DeviceFeatures ? (DeviceFeatures.handle(vectors) as T) : vectors;
}
