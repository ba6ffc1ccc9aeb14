import { visionAddon, type NativeFaceRecognizer } from '../addon';
import { stable } from '../buffers';
import { Calls, Places } from '../calls';
import { networkDevice, type Device } from '../device';
import { DeviceFeatures } from '../device-features';
import { FaissVisionError } from '../error';
import { decode, lookAt, photosAtOnce, type ImageInput, type Pixels } from '../image';
import { checkMaxPixels, invalid } from '../image/check';
import { DEFAULT_WEIGHTS, packagedWeights, weightsPath } from './weights';

export interface FaceRecognizerOptions {
  /**
   * `'resnet128'`: dlib's face recognition ResNet with the weights of face-api, 128 numbers. `'facenet'`: FaceNet, an
   * Inception-ResNet v1 of 512 numbers. Or a name given to `FaceRecognizer.register`.
   */
  model: 'resnet128' | 'facenet' | (string & {});
  /**
   * A safetensors file of the same architecture, or for facenet `'vggface2'` or `'casia-webface'`: the official ones, once
   * `faiss-vision models fetch` has put them into the models folder, or a `.pt` file of facenet-pytorch. Default: what set-up
   * made, and `'vggface2'`.
   */
  weights?: string;
  /** Where to compute: the processor, the first GPU, or GPU number N. A GPU needs a build for CUDA (docs/gpu.md). Default `'cpu'`. */
  device?: Device;
  /**
   * What networks multiply in. On the processor `'bf16'`, for facenet and processors with AVX-512 BF16 or AMX, keeps 8 of 24 bits
   * of each number in the recogniser; docs/faces.md says what that does to the features. On a GPU detector and recogniser take
   * `'bf16'` and `'fp16'`, which keeps 11 bits, and `'fp32'` keeps all 24. Default `'fp32'`, so that features are the same everywhere.
   */
  precision?: 'fp32' | 'bf16' | 'fp16';
  /**
   * The smallest face to look for, in pixels, from 6 to 1,000,000. Detection takes time with 1 / minFaceSize squared; from 300 on,
   * large JPEG and WebP files are shrunk while they are decoded (docs/faces.md). Default 20.
   */
  minFaceSize?: number;
  /** Scores that the detector's three networks must reach, from 0 to 1. Default [0.6, 0.7, 0.7]. */
  thresholds?: [number, number, number];
  /**
   * What decodes JPEG files. `'cuda'`, for a recogniser on a GPU, is NVIDIA's nvJPEG there, of the toolkit; sharp still decodes what that
   * does not take. Its pixels, and with them the features, differ a little from sharp's, by how much depends on the GPU (docs/gpu.md).
   * Default `'cpu'`.
   */
  decoder?: 'cpu' | 'cuda';
  /** Keeps so many of the largest faces of a picture; 1 is the largest only. Default: all. */
  maxFaces?: number;
  /** Most pixels of an encoded picture, from 1; one of more is refused by its header. Default 2^26. */
  maxPixels?: number;
  /** facenet: pixels of the chip that are to lie around the detector's box, from 0 to 159, as facenet-pytorch counts them. Default 0. */
  margin?: number;
}

export interface FacesOptions {
  /** As when loading, for this picture. */
  maxFaces?: number;
  /** As when loading, for this picture. */
  minFaceSize?: number;
  /** The part of the picture to look at, in pixels of the upright picture. Boxes stay those of the whole picture. */
  region?: { x: number; y: number; width: number; height: number };
}

/** Weights of one's own for a network that is known. */
export interface RegisteredModel {
  architecture: 'resnet128' | 'facenet';
  /** A safetensors file. */
  weights: string;
  /** Euclidean distance below which two faces count as one person's. Default: the architecture's. */
  threshold?: number;
}

export interface Face {
  /** In pixels of the upright picture; stands over its edge where the face does. */
  box: { x: number; y: number; width: number; height: number };
  /** How sure the detector is, 0 to 1. */
  score: number;
  /** Left eye, right eye, nose, left and right corner of the mouth, as seen in the picture: [x, y] each. */
  landmarks: [number, number][];
  /** `dimension` numbers; faces of one person are near to one another. */
  features: Float32Array;
}

const registered = new Map<string, RegisteredModel>();

const BOX_NUMBERS = 15; // as native/addon/face_binding.cpp lays them out

/** Pixels that the smallest face keeps in a picture that is shrunk while it is decoded: those of the mean face in resnet128's chip. */
const KEPT_FACE = 100;

/** How much smaller a picture may be decoded: sharp leaves the halving, quartering and so on to the decoder from these on. */
function shrinkFor(minFaceSize = 0): number {
  return [9, 5, 3].find((shrink) => minFaceSize / shrink >= KEPT_FACE) ?? 1;
}

/** A grey picture as a file. */
function madePicture(): Promise<Buffer> {
  const sharp = require('sharp') as typeof import('sharp');
  return sharp({ create: { width: 640, height: 480, channels: 3, background: '#808080' } }).jpeg().toBuffer();
}

function checkMinFaceSize(size: unknown): void {
  if (size === undefined || (typeof size === 'number' && size >= 6 && size <= 1e6)) return;
  throw invalid('minFaceSize', 'a number of pixels from 6 to 1000000', size);
}

function checkMaxFaces(count: unknown): void {
  if (count === undefined || (Number.isSafeInteger(count) && (count as number) >= 1 && (count as number) <= 2 ** 26)) return;
  throw invalid('maxFaces', `a whole number from 1 to ${2 ** 26}`, count);
}

/**
 * Finds the faces in pictures (MTCNN, Zhang et al. 2016) and turns each into numbers that tell people apart. Everything
 * runs on threads of its own; one recogniser does one call at a time (on a GPU six), in the order in which their pictures are decoded.
 */
export class FaceRecognizer {
  /** The name that it was loaded by, such as `'resnet128'`. */
  readonly model: string;
  /** The safetensors file of its weights. */
  readonly weights: string;
  /** Numbers in a face's features. */
  readonly dimension: number;
  /** Side of the square picture that the network reads, in pixels. */
  readonly chipSize: number;
  /** How features are compared: by plain Euclidean distance. */
  readonly metric = 'l2' as const;
  /** Euclidean distance between features below which two faces count as one person's, unless you measured a better one. */
  readonly threshold: number;
  /** Where that number comes from. */
  readonly thresholdSource: string;
  /** Where it computes; `'cuda'` is `'cuda:0'`. */
  readonly device: Device;
  /** Most pixels of an encoded picture, where it was loaded with a limit. */
  readonly maxPixels: number | undefined;
  /** What decodes JPEG files. */
  readonly decoder: 'cpu' | 'cuda';
  readonly #native: NativeFaceRecognizer;
  readonly #calls = new Calls('FaceRecognizer');
  readonly #places: Places;
  readonly #maxFaces: number | undefined;
  readonly #minFaceSize: number | undefined;

  private constructor(
    native: NativeFaceRecognizer,
    about: Awaited<ReturnType<NativeFaceRecognizer['load']>>,
    own: { model: string; weights: string; device: string; decoder: 'cpu' | 'cuda' } & Record<
      'maxFaces' | 'minFaceSize' | 'maxPixels',
      number | undefined
    >,
  ) {
    this.#native = native;
    this.model = own.model;
    this.weights = own.weights;
    this.dimension = about.dimension;
    this.chipSize = about.chipSize;
    this.threshold = about.threshold;
    this.thresholdSource = about.thresholdSource;
    this.device = own.device as Device;
    this.maxPixels = own.maxPixels;
    this.decoder = own.decoder;
    this.#places = new Places(photosAtOnce(own.device, own.decoder));
    this.#maxFaces = own.maxFaces;
    this.#minFaceSize = own.minFaceSize;
  }

  /**
   * Gives weights of your own a name to load them by, in this thread.
   * @throws ERR_INVALID_ARGUMENT for a name that is taken, ERR_UNKNOWN_MODEL for another architecture
   */
  static register(name: string, model: RegisteredModel): void {
    const { architecture, weights, threshold } = model ?? {};
    const taken = DEFAULT_WEIGHTS.has(name) || registered.has(name);
    if (typeof name !== 'string' || name === '' || taken) throw invalid('name', 'a name that is not taken', name);
    if (!DEFAULT_WEIGHTS.has(architecture)) {
      const known = [...DEFAULT_WEIGHTS.keys()].join(', ');
      throw new FaissVisionError('ERR_UNKNOWN_MODEL', `\`architecture\` must be one of ${known}, got ${String(architecture)}`);
    }
    if (typeof weights !== 'string' || weights === '') throw invalid('weights', 'the path of a safetensors file', weights);
    if (threshold !== undefined && !(Number.isFinite(threshold) && threshold > 0)) throw invalid('threshold', 'a number above 0', threshold);
    registered.set(name, { ...model });
  }

  /**
   * Loads detector and recogniser and runs both once. Their weights are mapped into memory and packed.
   * @throws ERR_VISION_UNAVAILABLE without libtorch, ERR_UNKNOWN_MODEL, ERR_WEIGHTS_NOT_FOUND, ERR_WEIGHTS_CORRUPT,
   * ERR_WEIGHTS_MISMATCH for weights of another model, ERR_CUDA_UNAVAILABLE with the reason, ERR_CUDA_OUT_OF_MEMORY, ERR_UNSUPPORTED for
   * bf16 without a processor or a model for it and for fp16 or a GPU's decoder on the processor, ERR_NOT_FINITE for weights whose features
   * are no numbers, ERR_INVALID_ARGUMENT
   */
  static async load(options: FaceRecognizerOptions): Promise<FaceRecognizer> {
    const { model, weights, minFaceSize, thresholds, maxFaces, maxPixels, margin, decoder = 'cpu' } = options ?? {};
    const { device, precision } = networkDevice(options?.device, options?.precision);
    if (decoder !== 'cpu' && decoder !== 'cuda') throw invalid('decoder', "'cpu' or 'cuda'", decoder);
    if (decoder === 'cuda' && device === 'cpu') throw new FaissVisionError('ERR_UNSUPPORTED', "`decoder` 'cuda' is for a recogniser on a GPU");
    checkMaxFaces(maxFaces);
    checkMinFaceSize(minFaceSize);
    checkMaxPixels(maxPixels);
    const own = registered.get(model);
    const { FaceRecognizer: Native, checkDevice } = visionAddon(); // without it no weights help
    if (device !== 'cpu') await checkDevice(device);
    const file = await weightsPath(own?.architecture ?? model, weights ?? own?.weights);
    const native = new Native({
      model,
      architecture: own?.architecture,
      threshold: own?.threshold,
      weights: file,
      detectorWeights: packagedWeights('mtcnn'),
      precision,
      device,
      minFaceSize,
      thresholds,
      margin,
      decodes: decoder === 'cuda',
    });
    return new FaceRecognizer(native, await native.load(), { model, weights: file, device, decoder, maxFaces, minFaceSize, maxPixels });
  }

  /**
   * Decodes two pictures and runs both networks on them, so that the first photo is as fast as the tenth. `load` has run the
   * networks once, on a made picture; the decoder of picture files is loaded here, or with the first file.
   * @param images two pictures like those to come, so that memory fits their size; without, made ones
   * @throws as `faces`
   */
  async warmUp(images?: readonly [ImageInput, ImageInput]): Promise<void> {
    if (images !== undefined && !(Array.isArray(images) && images.length === 2)) throw invalid('images', 'two pictures', images);
    return this.#calls.run(async () => {
      const made = images === undefined ? await madePicture() : undefined;
      const [first, second] = images ?? [made!, made!];
      return this.#native.warmUp(await decode(first, 'images[0]'), await decode(second, 'images[1]'));
    });
  }

  /**
   * The faces in a picture, largest first; none for a picture without faces. Pictures that wait go through the networks
   * together, up to eight at a time; every call gets its own faces. However many wait, twelve at most are in memory as pixels,
   * on a GPU 32, or 64 where it decodes too.
   * @throws ERR_IMAGE_NOT_FOUND, ERR_IMAGE_EMPTY, ERR_IMAGE_DECODE, ERR_IMAGE_TOO_LARGE, ERR_INVALID_ARGUMENT, ERR_CLOSED
   */
  async faces(image: ImageInput, options: FacesOptions = {}): Promise<Face[]> {
    if (typeof options !== 'object' || options === null) throw invalid('options', 'an object { maxFaces, minFaceSize, region }', options);
    const { maxFaces = this.#maxFaces, minFaceSize = this.#minFaceSize, region } = options;
    checkMaxFaces(maxFaces);
    checkMinFaceSize(minFaceSize);
    // A part is given in pixels of the whole picture, and may be small.
    const how = { maxPixels: this.maxPixels, keepJpeg: this.decoder === 'cuda', shrink: region === undefined ? shrinkFor(minFaceSize) : 1 };
    const look = async (pixels: Pixels) => {
      const { shrunk } = pixels;
      const smallest = shrunk && minFaceSize !== undefined ? minFaceSize / Math.max(shrunk.x, shrunk.y) : minFaceSize;
      return { shrunk, ...(await this.#native.faces(pixels, { maxFaces, minFaceSize: smallest, region })) };
    };
    const { shrunk: { x, y } = { x: 1, y: 1 }, boxes, features } = await this.#calls.run(() => lookAt(image, how, this.#places, look));
    return Array.from({ length: boxes.length / BOX_NUMBERS }, (_, i) => {
      const at = (place: number) => boxes[i * BOX_NUMBERS + place]!;
      return {
        box: { x: x * at(0), y: y * at(1), width: x * at(2), height: y * at(3) },
        score: at(4),
        landmarks: Array.from({ length: 5 }, (_, point): [number, number] => [x * at(5 + 2 * point), y * at(6 + 2 * point)]),
        features: features.slice(i * this.dimension, (i + 1) * this.dimension),
      };
    });
  }

  /**
   * The features of chips that are already cut.
   * @param chips n x chipSize x chipSize x 3 bytes, RGB, rows first
   * @returns n x dimension numbers
   * @throws ERR_DIMENSION_MISMATCH, ERR_DETACHED, ERR_INVALID_ARGUMENT, ERR_CLOSED
   */
  async embed(chips: Uint8Array, options?: { keepOnDevice?: false }): Promise<Float32Array>;
  /**
   * The same, left in the GPU's memory for `index.add` and `index.search` of an index there.
   * @param options.keepOnDevice for a recogniser that was loaded onto a GPU
   * @throws ERR_UNSUPPORTED where it runs on the processor, ERR_NOT_FINITE, ERR_CUDA_OUT_OF_MEMORY, and as above
   */
  async embed(chips: Uint8Array, options: { keepOnDevice: true }): Promise<DeviceFeatures>;
  async embed(chips: Uint8Array, options: { keepOnDevice?: boolean } = {}): Promise<Float32Array | DeviceFeatures> {
    if (typeof options !== 'object' || options === null) throw invalid('options', 'an object { keepOnDevice }', options);
    const { keepOnDevice = false } = options;
    if (typeof keepOnDevice !== 'boolean') throw invalid('keepOnDevice', 'true or false', keepOnDevice);
    return this.#calls.run(async () => {
      if (!keepOnDevice) return this.#native.embed(stable(chips));
      return new DeviceFeatures(await this.#native.embed(stable(chips), true));
    });
  }

  /** Frees the networks once everything that was called before is done. Later calls reject with ERR_CLOSED. */
  async close(): Promise<void> {
    await this.#calls.close();
    return this.#native.close();
  }
}
