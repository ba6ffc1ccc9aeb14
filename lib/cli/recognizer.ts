import { FaceRecognizer, type Device, type Face, type FaceRecognizerOptions } from '../face';
import type { Metric } from '../face/evaluation';
import { numberOf } from './command';

/** Options that every command which recognises faces takes. */
export const recognizerOptions = {
  model: { type: 'string', default: 'resnet128' },
  weights: { type: 'string' },
  device: { type: 'string' },
  precision: { type: 'string' },
  'min-face-size': { type: 'string' },
} as const;

export const recognizerUsage = `  --model NAME          resnet128 (default) or facenet
  --weights FILE        another safetensors file of the model's architecture; for facenet also vggface2 (default)
                        or casia-webface, once faiss-vision models fetch has fetched them
  --device NAME         cpu (default), cuda or cuda:N
  --precision FORMAT    fp32 (default) or bf16, and fp16 on a GPU
  --min-face-size N     the smallest face to look for, in pixels (default 20)`;

/** Options that choose among a photo's faces. */
export const choiceOptions = {
  'max-faces': { type: 'string' },
  largest: { type: 'boolean', default: false },
} as const;

export const choiceUsage = `  --max-faces N         at most the N largest faces of a photo
  --largest             the largest face alone`;

interface Given {
  model: string;
  weights?: string | undefined;
  device?: string | undefined;
  precision?: string | undefined;
  'min-face-size'?: string | undefined;
}

/** The number of faces that `choiceOptions` leave, or undefined for all. */
export function maxFacesOf(values: { 'max-faces'?: string | undefined; largest: boolean }): number | undefined {
  const limit = numberOf('max-faces', values['max-faces'], { from: 1, whole: true });
  return values.largest ? 1 : limit;
}

/** A recogniser as the command line asks for it, and how its features are compared. */
export class CommandRecognizer {
  readonly model: string;
  readonly dimension: number;
  /** What the threshold and the decision go by. */
  readonly metric: Metric;
  readonly threshold: number;
  readonly library: FaceRecognizer;

  private constructor(model: string, recognizer: FaceRecognizer) {
    this.model = model;
    this.dimension = recognizer.dimension;
    this.metric = recognizer.metric;
    this.threshold = recognizer.threshold;
    this.library = recognizer;
  }

  /** Only what was given is passed on, so that the library's own defaults hold. */
  static async load(given: Given, maxFaces?: number): Promise<CommandRecognizer> {
    const { model, weights, device, precision } = given;
    const minFaceSize = numberOf('min-face-size', given['min-face-size'], { from: 6 });
    const recognizer = await FaceRecognizer.load({
      model,
      ...(weights !== undefined && { weights }),
      // load() itself says which ones there are.
      ...(device !== undefined && { device: device as Device }),
      ...(precision !== undefined && { precision: precision as NonNullable<FaceRecognizerOptions['precision']> }),
      ...(minFaceSize !== undefined && { minFaceSize }),
      ...(maxFaces !== undefined && { maxFaces }),
    });
    return new CommandRecognizer(model, recognizer);
  }

  /** A photo's faces, largest first. */
  faces(photo: string): Promise<Face[]> {
    return this.library.faces(photo);
  }

  close(): Promise<void> {
    return this.library.close();
  }
}

/** A face as JSON has it; `features` only where asked for. */
export function faceJson({ box, score, landmarks, features }: Face, withFeatures: boolean) {
  return { box, score, landmarks, ...(withFeatures && { features: [...features] }) };
}

/** A box in whole pixels: "left 12, top 34, 56 x 78". */
export function boxText({ x, y, width, height }: Face['box']): string {
  const [left, top, wide, high] = [x, y, width, height].map(Math.round);
  return `left ${left}, top ${top}, ${wide} x ${high}`;
}
