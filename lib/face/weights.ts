import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { FaissVisionError } from '../error';
import { modelPath, modelsFolder } from '../models/cache';
import { convertFacenet } from '../models/convert-weights';
import { type Fingerprint, fingerprint, isMissing } from '../models/files';
import { withFolderLock } from '../models/lock';
import { RELEASED_WEIGHTS, releasedPath, releasedUrl } from '../models/released';

/** What a model's weights are where nobody says. @internal */
export const DEFAULT_WEIGHTS: ReadonlyMap<string, string | undefined> = new Map([['resnet128', undefined], ['facenet', 'vggface2']]);

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
  const { sha256 } = await contentOf(file);
  const folder = join(modelsFolder(), 'converted');
  const path = join(folder, `${sha256}.safetensors`);
  // The lock also takes away what a conversion that was killed left there.
  if (!existsSync(path)) await withFolderLock(folder, () => {}, async () => void (existsSync(path) || (await convertFacenet(file, path))));
  return path;
}

async function contentOf(file: string): Promise<Fingerprint> {
  const unreadable = (why: string, cause?: unknown) =>
    new FaissVisionError('ERR_WEIGHTS_NOT_FOUND', `weights: "${file}" cannot be read: ${why}`, { cause });
  try {
    // Asked first, because reading a pipe or a device might never end.
    if (!(await stat(file)).isFile()) throw unreadable('it is not a file');
    return (await fingerprint(file))!;
  } catch (error) {
    if (error instanceof FaissVisionError) throw error;
    throw unreadable(isMissing(error) ? 'there is no such file' : (error as Error).message, error);
  }
}

/**
 * The safetensors file that `weights` means for a model.
 * @throws ERR_WEIGHTS_NOT_FOUND for official weights that nobody has fetched yet, and what `convertFacenet` throws
 * @internal
 */
export async function weightsPath(model: string, weights: string | undefined): Promise<string> {
  const wanted = weights ?? DEFAULT_WEIGHTS.get(model);
  if (wanted === undefined) return packagedWeights('resnet128');
  const official = model === 'facenet' ? RELEASED_WEIGHTS.find(({ name }) => name === `facenet-${wanted}`) : undefined;
  if (official === undefined) {
    if (!/\.pth?$/i.test(wanted)) return wanted;
    if (model === 'facenet') return converted(wanted);
    throw new FaissVisionError('ERR_WEIGHTS_MISMATCH', `weights: "${wanted}" is a PyTorch file, as facenet has; ${model} takes a safetensors file`);
  }
  const path = releasedPath(official);
  if (existsSync(path)) return path;
  throw new FaissVisionError(
    'ERR_WEIGHTS_NOT_FOUND',
    `weights: facenet's '${wanted}' are not there yet. \`faiss-vision models fetch ${official.name}\` gets ` +
      `${releasedUrl(official)} and converts it; without a network add \`--from FILE\` with that file, or put what ` +
      `\`faiss-vision convert\` makes of it to "${path}"`,
  );
}
