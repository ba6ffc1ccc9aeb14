import { visionAddon, type NativeDepthEstimator } from '../addon';
import { Calls, Places } from '../calls';
import { networkDevice, type Device } from '../device';
import { FaissVisionError } from '../error';
import { decode, lookAt, type ImageInput } from '../image';
import { checkMaxPixels, invalid } from '../image/check';
import { DepthMap, type Near } from './depth-map';
import { seededWeights } from './seeded';
import { DepthWatch, type WatchOptions } from './watch';

export interface DepthEstimatorOptions {
  /**
   * A safetensors file that `convertWeights` (`faiss-vision convert`) made. `'seeded'`: made-up numbers that let everything
   * run; what comes out is no depth and says so.
   */
  weights: string;
  /** Where to compute: the processor, the first GPU, or GPU number N. A GPU needs a build for CUDA (docs/gpu.md). Default `'cpu'`. */
  device?: Device;
  /**
   * What the network multiplies in; it adds up in fp32 either way. `'bf16'` is quicker on processors that have units for it.
   * `'fp16'` is for CUDA alone, and the quick one there. Default `'fp32'` everywhere.
   */
  precision?: 'fp32' | 'bf16' | 'fp16';
  /** Which values are near. Default: what the weights file says; `'high'`, the article's rule, where it does not. */
  near?: Near;
  /** Most pixels of an encoded picture, from 1; one of more is refused by its header. Default 2^26. */
  maxPixels?: number;
}

// One picture is looked at at a time, and a few may be decoded meanwhile; the rest wait as files, since pixels take much memory.
const DECODED_AT_ONCE = 4;

/** Where the authors' weights are, for messages. */
const WHERE =
  "get the authors' weights (NYU_ResNet-UpProj.npy or the TensorFlow checkpoint) from the page of FCRN-DepthPrediction " +
  '(https://github.com/iro-cp/FCRN-DepthPrediction) and convert them with: faiss-vision convert INPUT OUTPUT.safetensors. ' +
  "'seeded' tries everything out without them";

/**
 * Depth from one picture with FCRN, the fully convolutional residual network (Laina et al. 2016). Everything runs on threads
 * of its own; one estimator does one call at a time, in the order in which their pictures are decoded.
 */
export class DepthEstimator {
  /** Cells of a map: 160 x 128. */
  readonly width: number;
  readonly height: number;
  /** Which values are near in its maps. */
  readonly near: Near;
  /** Whether the weights are seeded ones: then its maps are no real depth. */
  readonly seeded: boolean;
  readonly #native: NativeDepthEstimator;
  readonly #calls = new Calls('DepthEstimator');
  readonly #places = new Places(DECODED_AT_ONCE);
  readonly #maxPixels: number | undefined;

  private constructor(native: NativeDepthEstimator, about: { width: number; height: number; near: Near; seeded: boolean; maxPixels: number | undefined }) {
    this.#native = native;
    this.width = about.width;
    this.height = about.height;
    this.near = about.near;
    this.seeded = about.seeded;
    this.#maxPixels = about.maxPixels;
  }

  /**
   * Loads the network; its weights are mapped into memory and packed once.
   * @throws ERR_VISION_UNAVAILABLE without libtorch, ERR_WEIGHTS_NOT_FOUND, ERR_WEIGHTS_CORRUPT, ERR_WEIGHTS_MISMATCH for
   * weights of another network, ERR_CUDA_UNAVAILABLE with the reason, ERR_CUDA_OUT_OF_MEMORY, ERR_UNSUPPORTED for a
   * precision that this machine does not have, ERR_INVALID_ARGUMENT
   */
  static async load(options: DepthEstimatorOptions): Promise<DepthEstimator> {
    const { weights, near, maxPixels } = options ?? {};
    const { device, precision } = networkDevice(options?.device, options?.precision);
    if (near !== undefined && near !== 'high' && near !== 'low') throw invalid('near', "'high' or 'low'", near);
    checkMaxPixels(maxPixels);
    if (typeof weights !== 'string' || weights === '') {
      const error = invalid('weights', "the path of a safetensors file or 'seeded'", weights);
      throw new FaissVisionError(error.code, `${error.message}; ${WHERE}`);
    }
    const addon = visionAddon(); // before 254 MB are written for nothing
    if (device !== 'cpu') await addon.checkDevice(device);
    const native = new addon.DepthEstimator({ weights: weights === 'seeded' ? await seededWeights() : weights, precision, device });
    const about = await native.load().catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ERR_WEIGHTS_NOT_FOUND') throw error;
      throw new FaissVisionError(error.code, `${error.message}; ${WHERE}`, { cause: error });
    });
    return new DepthEstimator(native, {
      width: about.width,
      height: about.height,
      near: near ?? (about.near === 'low' ? 'low' : 'high'),
      seeded: about.source === 'seeded',
      maxPixels,
    });
  }

  /**
   * Runs the network once, so that the first picture is as fast as the next.
   * @param image a picture like those to come; without, a grey one
   */
  async warmUp(image?: ImageInput): Promise<void> {
    return this.#calls.run(async () => {
      const grey = { data: new Uint8Array(640 * 480 * 3).fill(128), width: 640, height: 480, channels: 3 };
      return this.#native.warmUp(image === undefined ? grey : await decode(image));
    });
  }

  /**
   * The depths of a whole picture, which is scaled to 304 x 228 whatever its shape. However many wait, four at most are in memory as pixels.
   * @throws ERR_IMAGE_NOT_FOUND, ERR_IMAGE_EMPTY, ERR_IMAGE_DECODE, ERR_IMAGE_TOO_LARGE, ERR_INVALID_ARGUMENT, ERR_CLOSED
   */
  async estimate(image: ImageInput): Promise<DepthMap> {
    const how = { maxPixels: this.#maxPixels };
    const values = await this.#calls.run(() => lookAt(image, how, this.#places, (pixels) => this.#native.estimate(pixels)));
    return new DepthMap(values, { width: this.width, height: this.height, near: this.near, seeded: this.seeded });
  }

  /**
   * The maps of a stream's newest frames, `for await (const map of depth.watch(frames))`; emits `near` and `clear`.
   * @param frames a camera, a film, a folder: anything that gives images one by one. A frame's pixels must stay as they are
   * once it is given out.
   * @throws ERR_INVALID_ARGUMENT
   */
  watch(frames: AsyncIterable<ImageInput>, options?: WatchOptions): DepthWatch {
    this.#calls.checkOpen();
    return new DepthWatch(frames, (frame) => this.estimate(frame), options);
  }

  /** Frees the network once everything that was called before is done. Later calls reject with ERR_CLOSED. */
  async close(): Promise<void> {
    await this.#calls.close();
    return this.#native.close();
  }
}
