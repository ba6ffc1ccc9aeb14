import { visionAddon, type NativeFaceRecognizer } from '../addon';
import { stable } from '../buffers';
import { FaissVisionError } from '../error';
import { decode, type ImageInput } from '../image';
import { modelPath } from '../models/cache';

export interface FaceRecognizerOptions {
  /** `'resnet128'`: dlib's face recognition ResNet with the weights of face-api, 128 numbers. */
  model: 'resnet128';
  /** Another safetensors file of the same architecture. Default: the one that set-up made. */
  weights?: string;
  /** Where to compute. This build has no CUDA: anything but `'cpu'` is refused. Default `'cpu'`. */
  device?: 'cpu' | 'cuda' | `cuda:${number}`;
  /** Number format of the networks. Default and, for now, only choice: `'fp32'`. */
  precision?: 'fp32';
  /** The smallest face to look for, in pixels. Detection takes time with 1 / minFaceSize squared. Default 20. */
  minFaceSize?: number;
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

const BOX_NUMBERS = 15; // as native/addon/face_binding.cpp lays them out

/**
 * Finds the faces in pictures (MTCNN, Zhang et al. 2016) and turns each into numbers that tell people apart. Everything
 * runs on threads of its own; one recogniser does one call at a time, in the order in which their pictures are decoded.
 */
export class FaceRecognizer {
  /** Numbers in a face's features. */
  readonly dimension: number;
  /** Side of the square picture that the network reads, in pixels. */
  readonly chipSize: number;
  /**
   * Euclidean distance between features below which two faces count as one person's; 0.6 for resnet128, as dlib's author
   * publishes for 99.38 % on LFW (http://dlib.net/face_recognition.py.html).
   */
  readonly threshold: number;
  readonly #native: NativeFaceRecognizer;
  /** Calls that have not ended; some have a picture to decode before native code hears of them. */
  readonly #underWay = new Set<Promise<unknown>>();
  #closed = false;

  private constructor(native: NativeFaceRecognizer, about: { dimension: number; chipSize: number; threshold: number }) {
    this.#native = native;
    this.dimension = about.dimension;
    this.chipSize = about.chipSize;
    this.threshold = about.threshold;
  }

  /**
   * Loads detector and recogniser; their weights are mapped into memory and packed once.
   * @throws ERR_VISION_UNAVAILABLE without libtorch, ERR_UNKNOWN_MODEL, ERR_WEIGHTS_NOT_FOUND, ERR_WEIGHTS_CORRUPT,
   * ERR_WEIGHTS_MISMATCH for weights of another model, ERR_CUDA_UNAVAILABLE, ERR_INVALID_ARGUMENT
   */
  static async load(options: FaceRecognizerOptions): Promise<FaceRecognizer> {
    const { model, weights, device = 'cpu', precision = 'fp32', minFaceSize } = options ?? {};
    if (device !== 'cpu') {
      const cuda = typeof device === 'string' && /^cuda(:\d+)?$/.test(device);
      throw cuda
        ? new FaissVisionError('ERR_CUDA_UNAVAILABLE', `\`device\` '${device}' cannot be used: this build of faiss-vision has no CUDA`)
        : new FaissVisionError('ERR_INVALID_ARGUMENT', `\`device\` must be 'cpu', 'cuda' or 'cuda:N', got ${String(device)}`);
    }
    if (precision !== 'fp32') {
      throw new FaissVisionError('ERR_INVALID_ARGUMENT', `\`precision\` must be 'fp32', got ${String(precision)}`);
    }
    const native = new (visionAddon().FaceRecognizer)({
      model,
      weights: weights ?? modelPath('resnet128'),
      detectorWeights: modelPath('mtcnn'),
      minFaceSize,
    });
    return new FaceRecognizer(native, await native.load());
  }

  /**
   * Runs both networks once, so that the first photo is as fast as the next.
   * @param images two pictures like those to come; without, made ones
   */
  async warmUp(images?: readonly [ImageInput, ImageInput]): Promise<void> {
    return this.#call(async () => {
      if (images === undefined) {
        const grey = { data: new Uint8Array(640 * 480 * 3).fill(128), width: 640, height: 480, channels: 3 };
        return this.#native.warmUp(grey, grey);
      }
      return this.#native.warmUp(await decode(images[0], 'images[0]'), await decode(images[1], 'images[1]'));
    });
  }

  /**
   * The faces in a picture, largest first; none for a picture without faces.
   * @throws ERR_IMAGE_NOT_FOUND, ERR_IMAGE_EMPTY, ERR_IMAGE_DECODE, ERR_IMAGE_TOO_LARGE, ERR_INVALID_ARGUMENT, ERR_CLOSED
   */
  async faces(image: ImageInput): Promise<Face[]> {
    const { boxes, features } = await this.#call(async () => this.#native.faces(await decode(image)));
    return Array.from({ length: boxes.length / BOX_NUMBERS }, (_, i) => {
      const at = (place: number) => boxes[i * BOX_NUMBERS + place]!;
      return {
        box: { x: at(0), y: at(1), width: at(2), height: at(3) },
        score: at(4),
        landmarks: Array.from({ length: 5 }, (_, point): [number, number] => [at(5 + 2 * point), at(6 + 2 * point)]),
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
  async embed(chips: Uint8Array): Promise<Float32Array> {
    return this.#call(() => this.#native.embed(stable(chips)));
  }

  /** Frees the networks once everything that was called before is done. Later calls reject with ERR_CLOSED. */
  async close(): Promise<void> {
    this.#checkOpen();
    this.#closed = true;
    await Promise.allSettled(this.#underWay);
    return this.#native.close();
  }

  async #call<T>(work: () => Promise<T>): Promise<T> {
    this.#checkOpen();
    const call = work();
    this.#underWay.add(call);
    try {
      return await call;
    } finally {
      this.#underWay.delete(call);
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new FaissVisionError('ERR_CLOSED', 'this FaceRecognizer was closed');
  }
}
