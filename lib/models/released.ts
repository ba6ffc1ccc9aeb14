import * as path from 'node:path';
import { modelsFolder } from './cache';

/** Weights that their authors publish as a file on a release page. */
export interface ReleasedWeights {
  /** `facenet-` and the name that `FaceRecognizer.load({ weights })` takes. */
  name: string;
  /** The published file. */
  file: string;
  /** What they were trained on, and what they reach as published. */
  about: string;
}

const RELEASE = 'https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9';

/** Accuracies: https://github.com/davidsandberg/facenet, "Pre-trained models"; facenet-pytorch converted those. */
export const RELEASED_WEIGHTS: readonly ReleasedWeights[] = [
  {
    name: 'facenet-vggface2',
    file: '20180402-114759-vggface2.pt',
    about: 'trained on VGGFace2, 99.65 % on LFW as published',
  },
  {
    name: 'facenet-casia-webface',
    file: '20180408-102900-casia-webface.pt',
    about: 'trained on CASIA-WebFace, 99.05 % on LFW as published',
  },
];

/** The address of a release's file; FAISS_VISION_WEIGHTS_URL names a mirror's folder instead of the release page's. */
export function releasedUrl({ file }: ReleasedWeights): string {
  return `${(process.env.FAISS_VISION_WEIGHTS_URL || RELEASE).replace(/\/+$/, '')}/${file}`;
}

/** Path of the converted weights, which need not be there: `fetchWeights` puts them there. */
export function releasedPath({ name }: ReleasedWeights): string {
  return path.join(modelsFolder(), `${name}.safetensors`);
}
