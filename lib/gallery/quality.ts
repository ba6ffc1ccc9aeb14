import type { Face } from '../face';
import { invalid } from '../image/check';
import { packed, type Pixels } from '../image';
import { FaissVisionError } from '../error';

/** The longer side of a kept picture of a face, in pixels: as much as the detector needs to find it there again. */
const THUMBNAIL = 320;

/** What a face must be like to be enrolled. */
export interface Quality {
  /** The shorter side of the detector's box, in pixels. Default 40. */
  minSize: number;
  /** How sure the detector must be, 0 to 1. Default 0.9. */
  minScore: number;
  /** Standard deviation of the Laplacian of the grey face at 150 x 150 pixels: a blurred face has little. Default 0.5. */
  minSharpness: number;
  /** How far the head may be turned to a side: 0 is straight, 1 has the nose above an eye. Default 0.6. */
  maxYaw: number;
  /** How far the head may be raised or lowered, as the nose leaves its place between eyes and mouth. Default 0.6. */
  maxPitch: number;
  /** How far the line of the eyes may be tilted, in degrees. Default 30. */
  maxRoll: number;
}

/** What was measured, in the units of `Quality`. */
export interface MeasuredQuality {
  size: number;
  score: number;
  sharpness: number;
  yaw: number;
  pitch: number;
  roll: number;
}

export const DEFAULT_QUALITY: Quality = { minSize: 40, minScore: 0.9, minSharpness: 0.5, maxYaw: 0.6, maxPitch: 0.6, maxRoll: 30 };

/** A face that is not good enough to be enrolled: which rule it breaks, and everything that was measured. */
export class FaceQualityError extends FaissVisionError {
  readonly reason: 'size' | 'score' | 'sharpness' | 'yaw' | 'pitch' | 'roll';
  readonly measured: MeasuredQuality;

  constructor(reason: FaceQualityError['reason'], message: string, measured: MeasuredQuality) {
    super('ERR_FACE_QUALITY', message);
    this.reason = reason;
    this.measured = measured;
  }
}

export function checkQuality(quality: Partial<Quality> | false | undefined): Quality | undefined {
  if (quality === false) return undefined;
  if (quality !== undefined && (typeof quality !== 'object' || quality === null)) throw invalid('quality', 'limits, or false', quality);
  for (const [name, value] of Object.entries(quality ?? {})) {
    if (!(name in DEFAULT_QUALITY)) throw invalid('quality', `limits named ${Object.keys(DEFAULT_QUALITY).join(', ')}`, name);
    if (typeof value !== 'number' || !(value >= 0)) throw invalid(`quality.${name}`, 'a number of at least 0', value);
  }
  return { ...DEFAULT_QUALITY, ...quality };
}

/**
 * The pose from five landmarks in a plane: no angles, which would need a model of the head, but numbers that grow with them and do not
 * depend on the size of the face.
 */
export function poseOf(landmarks: Face['landmarks']): { yaw: number; pitch: number; roll: number } {
  const [left, right, nose, mouthLeft, mouthRight] = landmarks as unknown as [Point, Point, Point, Point, Point];
  const roll = Math.atan2(right[1] - left[1], right[0] - left[0]);
  // Everything as it would lie were the head not tilted.
  const turned = ([x, y]: Point): Point => [x * Math.cos(-roll) - y * Math.sin(-roll), x * Math.sin(-roll) + y * Math.cos(-roll)];
  const eyes = middle(turned(left), turned(right));
  const mouth = middle(turned(mouthLeft), turned(mouthRight));
  const tip = turned(nose);
  const across = Math.hypot(right[0] - left[0], right[1] - left[1]) || 1;
  const down = mouth[1] - eyes[1] || 1;
  return {
    yaw: Math.abs(tip[0] - (eyes[0] + mouth[0]) / 2) / (across / 2),
    pitch: Math.abs((tip[1] - eyes[1]) / down - 0.55) / 0.45, // straight, the nose's tip is a little below the middle
    roll: Math.abs((roll * 180) / Math.PI),
  };
}

type Point = readonly [number, number];
const middle = (a: Point, b: Point): Point => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];

export async function measure(pixels: Pixels, face: Face): Promise<MeasuredQuality> {
  const { width, height } = face.box;
  const grey = await cut(pixels, face.box, 0)?.resize(150, 150, { fit: 'fill' }).greyscale().raw().toBuffer({ resolveWithObject: true });
  const sharp = require('sharp') as typeof import('sharp');
  const sharpness = grey === undefined ? 0 : (await sharp(grey.data, { raw: grey.info }).stats()).sharpness;
  return { size: Math.min(width, height), score: face.score, sharpness, ...poseOf(face.landmarks) };
}

/** @throws ERR_FACE_QUALITY with what was measured */
export function requireQuality(measured: MeasuredQuality, limits: Quality, what: string): void {
  const refuse = (reason: FaceQualityError['reason'], is: string, wanted: string) => {
    throw new FaceQualityError(reason, `${what}: the face ${is}, ${wanted} is wanted`, measured);
  };
  const { size, score, sharpness, yaw, pitch, roll } = measured;
  if (size < limits.minSize) refuse('size', `is ${size.toFixed(0)} pixels wide or high`, `at least ${limits.minSize}`);
  if (score < limits.minScore) refuse('score', `has a detector's score of ${score.toFixed(3)}`, `at least ${limits.minScore}`);
  if (sharpness < limits.minSharpness) refuse('sharpness', `is blurred, its sharpness is ${sharpness.toFixed(2)}`, `at least ${limits.minSharpness}`);
  if (yaw > limits.maxYaw) refuse('yaw', `looks to the side by ${yaw.toFixed(2)}`, `at most ${limits.maxYaw}`);
  if (pitch > limits.maxPitch) refuse('pitch', `looks up or down by ${pitch.toFixed(2)}`, `at most ${limits.maxPitch}`);
  if (roll > limits.maxRoll) refuse('roll', `is tilted by ${roll.toFixed(0)} degrees`, `at most ${limits.maxRoll}`);
}

/** The face with a margin around it, as a JPEG from which it can be embedded anew. */
export async function thumbnailOf(pixels: Pixels, face: Face): Promise<Uint8Array> {
  const part = cut(pixels, face.box, 0.5);
  if (part === undefined) throw new FaissVisionError('ERR_NO_FACE', 'the face lies outside the picture');
  return part.resize(THUMBNAIL, THUMBNAIL, { fit: 'inside', withoutEnlargement: true }).jpeg({ quality: 92, chromaSubsampling: '4:4:4' }).toBuffer();
}

/** The part of a picture around a box, with so much of its size on each side; undefined where nothing of it is in the picture. */
function cut(pixels: Pixels, box: Face['box'], margin: number): import('sharp').Sharp | undefined {
  const { channels, stride } = pixels;
  const left = Math.max(0, Math.floor(box.x - margin * box.width));
  const top = Math.max(0, Math.floor(box.y - margin * box.height));
  const width = Math.min(pixels.width, Math.ceil(box.x + (1 + margin) * box.width)) - left;
  const height = Math.min(pixels.height, Math.ceil(box.y + (1 + margin) * box.height)) - top;
  if (width <= 0 || height <= 0) return undefined;
  const sharp = require('sharp') as typeof import('sharp');
  const data = packed({ ...pixels, data: pixels.data.subarray(top * stride + left * channels), width, height });
  return sharp(data, { raw: { width, height, channels } }).flatten({ background: '#ffffff' });
}
