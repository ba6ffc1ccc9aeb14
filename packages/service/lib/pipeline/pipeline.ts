import { EventEmitter } from 'node:events';
import type { DepthEstimator, DepthMap, ImageInput } from 'faiss-vision';
import { freePixels } from 'faiss-vision/frames';
import type { Camera } from '../sources/camera.js';
import { CameraDepth } from './depth-watch.js';
import { FaceWatch, type FaceWatchOptions, type Frame, type LiveFace, type Tell } from './face-watch.js';
import { Newest } from './newest.js';
import { decodeFrame, toJpeg, type Picture } from './picture.js';

/** What was seen on one frame. */
export interface Live {
  camera: string;
  frame: number;
  /** Milliseconds since 1970. */
  time: number;
  width: number;
  height: number;
  faces: LiveFace[];
  near?: boolean;
  coverage?: number;
}

interface PipelineEvents {
  live: [live: Live];
  /** A frame that could not be decoded, or a stage that failed with it. */
  failed: [error: unknown];
  /** Milliseconds that a frame took through a stage. */
  took: [stage: 'decode' | 'faces' | 'depth' | 'frame', ms: number];
}

export interface PipelineOptions {
  camera: Camera;
  tell: Tell;
  /** Looks for faces, where this camera does. */
  faces?: Omit<FaceWatchOptions, 'camera' | 'tell'> | undefined;
  /** Watches for something near, where this camera does. */
  depth?: { estimator: DepthEstimator; every: number; clearAt: number } | undefined;
}

interface Incoming extends Omit<Frame, 'pixels'> {
  image: ImageInput;
}

interface Decoded {
  frame: Frame;
  picture: Picture;
}

/**
 * One camera's way from frame to event: read, decode, find and recognise faces, beside them depth. In front of each stage
 * waits one frame at most, the newest; what a stage has decided is never dropped.
 */
export class CameraPipeline extends EventEmitter<PipelineEvents> {
  readonly camera: Camera;
  /** In front of the decoder and of the detector. */
  readonly incoming = new Newest<Incoming>();
  readonly decoded = new Newest<Decoded>(({ picture }) => letGo(picture));
  analysed = 0;
  failures = 0;
  live: Live | undefined;
  map: DepthMap | undefined;
  readonly depth: CameraDepth | undefined;
  readonly #tell: Tell;
  readonly #faces: FaceWatch | undefined;
  readonly #running: Promise<unknown>;
  #picture: Picture | undefined;
  #jpeg: Promise<Uint8Array> | undefined;
  #near = false;
  /** Numbers of the newest frame, and of the newest one when the camera was lost. */
  #newest = 0;
  #lostAt = 0;

  constructor({ camera, tell, faces, depth }: PipelineOptions) {
    super();
    this.camera = camera;
    this.#tell = tell;
    const { id } = camera.config;
    this.#faces = faces && new FaceWatch({ ...faces, camera: id, tell });
    this.depth = depth && this.#watchDepth(depth);
    camera.on('frame', (image) => this.incoming.put({ number: ++this.#newest, time: Date.now(), at: performance.now(), image }));
    camera.on('lost', (reason) => this.#lost(reason));
    camera.on('back', () => tell({ type: 'camera-back', camera: id }));
    this.#running = Promise.all([this.#decode(), this.#analyse()]);
  }

  /** The newest frame that was looked at, as a JPEG; undefined before the first. */
  async jpeg(): Promise<Uint8Array | undefined> {
    const picture = this.#picture;
    if (!picture) return undefined;
    // Made once for everybody who watches.
    return picture.jpeg ?? (this.#jpeg ??= toJpeg(picture.pixels));
  }

  /** Lets the source go, and resolves once what came before has been decided. */
  async close(): Promise<void> {
    await this.camera.stop();
    this.incoming.close();
    await this.#running;
    await this.depth?.close();
    this.#faces?.end('the service stopped');
  }

  async #decode(): Promise<void> {
    for await (const { image, number, time, at } of this.incoming) {
      const begin = performance.now();
      try {
        const picture = await decodeFrame(image);
        this.emit('took', 'decode', performance.now() - begin);
        if (number <= this.#lostAt) continue;
        const { pixels, jpeg } = picture;
        // As a file: it decodes the few that it looks at, and these pixels are free again before.
        this.depth?.frames.put(jpeg ?? pixels);
        // Not `{ ...incoming, ...picture }`: each such object gets hidden classes of its own, which only a full collection frees.
        this.decoded.put({ frame: { number, time, at, pixels }, picture });
      } catch (error) {
        this.#failed(error);
      }
    }
    this.decoded.close();
  }

  async #analyse(): Promise<void> {
    for await (const { frame, picture } of this.decoded) {
      const begin = performance.now();
      try {
        const { number, time, pixels } = frame;
        const faces = (await this.#faces?.take(frame)) ?? [];
        this.analysed++;
        this.#picture = picture;
        this.#jpeg = undefined;
        this.emit('took', 'faces', performance.now() - begin);
        this.emit('took', 'frame', Date.now() - time);
        const { width, height } = pixels;
        this.live = { camera: this.camera.config.id, frame: number, time, width, height, faces, ...this.#depthNow() };
        this.emit('live', this.live);
      } catch (error) {
        this.#failed(error);
      } finally {
        letGo(picture);
      }
    }
  }

  #depthNow(): Pick<Live, 'near' | 'coverage'> {
    return this.map ? { near: this.#near, coverage: Math.round(this.map.coverage * 1e4) / 1e4 } : {};
  }

  #watchDepth({ estimator, every, clearAt }: NonNullable<PipelineOptions['depth']>): CameraDepth {
    return new CameraDepth({
      depth: estimator,
      every,
      clearAt,
      onMap: (map) => (this.map = map),
      onNear: (near, coverage) => {
        this.#near = near;
        this.#tell({ type: near ? 'near' : 'clear', camera: this.camera.config.id, coverage });
      },
      onError: (error) => this.#failed(error),
    });
  }

  #lost(reason: string): void {
    // Whoever is on a frame that still waits was there before: an event of it would come after the loss, and its end never.
    this.#lostAt = this.#newest;
    this.incoming.clear();
    this.decoded.clear();
    this.#faces?.end('the camera was lost');
    this.depth?.lost();
    // Whoever asks from now on gets the frame, and nobody on it.
    if (this.live) this.live = { ...this.live, faces: [], ...(this.live.near ? { near: false } : {}) };
    this.#tell({ type: 'camera-lost', camera: this.camera.config.id, reason });
  }

  #failed(error: unknown): void {
    this.failures++;
    this.emit('failed', error);
  }
}

/** Until a collection finds them, pixels count as V8's: ten frames a second would have it collect all of its heap once a second. */
function letGo({ jpeg, pixels }: Picture): void {
  if (jpeg) freePixels(pixels); // else they are what the newest frame is shown by
}
