import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FaissVisionError } from '../error';
import { modelPath, modelsFolder } from '../models/cache';

/** What a model's weights are where nobody says. @internal */
export const DEFAULT_WEIGHTS: Record<string, string | undefined> = { resnet128: undefined, facenet: 'vggface2' };

/** facenet-pytorch's names for its weights, and the file of its release that each is. @internal */
export const FACENET_WEIGHTS: Record<string, string> = {
  vggface2: '20180402-114759-vggface2.pt',
  'casia-webface': '20180408-102900-casia-webface.pt',
};

/** The release that those files are part of. @internal */
export const FACENET_RELEASE = 'https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9';

/**
 * The safetensors file that `weights` means for a model.
 * @throws ERR_WEIGHTS_NOT_FOUND for official weights that nobody has fetched yet
 * @internal
 */
export async function weightsPath(model: string, weights: string | undefined): Promise<string> {
  const wanted = weights ?? DEFAULT_WEIGHTS[model];
  if (wanted === undefined) return modelPath('resnet128');
  const official = model === 'facenet' ? FACENET_WEIGHTS[wanted] : undefined;
  if (official === undefined) return wanted;
  const path = join(modelsFolder(), `facenet-${wanted}.safetensors`);
  if (existsSync(path)) return path;
  throw new FaissVisionError(
    'ERR_WEIGHTS_NOT_FOUND',
    `weights: facenet's '${wanted}' are not there yet. \`faiss-vision models fetch facenet-${wanted}\` gets ${official} from ` +
      `${FACENET_RELEASE} and converts it; without a network add \`--from FILE\` with that file, or put what ` +
      `\`faiss-vision convert\` makes of it to "${path}"`,
  );
}
