import { existsSync } from 'node:fs';
import { FaissVisionError } from '../error';
import { modelPath } from '../models/cache';
import { RELEASED_WEIGHTS, releasedPath, releasedUrl } from '../models/released';

/** What a model's weights are where nobody says. @internal */
export const DEFAULT_WEIGHTS: Record<string, string | undefined> = { resnet128: undefined, facenet: 'vggface2' };

/**
 * The safetensors file that `weights` means for a model.
 * @throws ERR_WEIGHTS_NOT_FOUND for official weights that nobody has fetched yet
 * @internal
 */
export async function weightsPath(model: string, weights: string | undefined): Promise<string> {
  const wanted = weights ?? DEFAULT_WEIGHTS[model];
  if (wanted === undefined) return modelPath('resnet128');
  const official = model === 'facenet' ? RELEASED_WEIGHTS.find(({ name }) => name === `facenet-${wanted}`) : undefined;
  if (official === undefined) return wanted;
  const path = releasedPath(official);
  if (existsSync(path)) return path;
  throw new FaissVisionError(
    'ERR_WEIGHTS_NOT_FOUND',
    `weights: facenet's '${wanted}' are not there yet. \`faiss-vision models fetch ${official.name}\` gets ` +
      `${releasedUrl(official)} and converts it; without a network add \`--from FILE\` with that file, or put what ` +
      `\`faiss-vision convert\` makes of it to "${path}"`,
  );
}
