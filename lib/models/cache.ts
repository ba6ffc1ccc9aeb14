import { existsSync } from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { companionFile } from '../native';

/** The user's home folder; `/`, as containers have it, for one of whom the system knows nothing but a number and who has no HOME. */
export function homeFolder(): string {
  try {
    return os.homedir();
  } catch {
    return '/';
  }
}

/** Where everything fetched or built for this user lives: FAISS_VISION_CACHE, else the XDG cache folder's faiss-vision. */
export function cacheFolder(): string {
  const { FAISS_VISION_CACHE, XDG_CACHE_HOME } = process.env;
  if (FAISS_VISION_CACHE) return path.resolve(FAISS_VISION_CACHE);
  // The XDG base directory specification: a relative path there counts as not set.
  const base = XDG_CACHE_HOME && path.isAbsolute(XDG_CACHE_HOME) ? XDG_CACHE_HOME : path.join(homeFolder(), '.cache');
  return path.join(base, 'faiss-vision');
}

/** The folder of the converted weights: FAISS_VISION_MODELS, else `models` in the cache. */
export function modelsFolder(): string {
  const { FAISS_VISION_MODELS } = process.env;
  return FAISS_VISION_MODELS ? path.resolve(FAISS_VISION_MODELS) : path.join(cacheFolder(), 'models');
}

/** The folder of the demo's and the tests' photos. */
export function photosFolder(): string {
  return path.join(cacheFolder(), 'photos');
}

/** The folder of the packages' own files, kept so that weights can be converted again without a network. */
export function downloadsFolder(): string {
  return path.join(cacheFolder(), 'downloads');
}

/**
 * Path of a model's converted weights: in FAISS_VISION_MODELS where it is there, else in the package @faiss-vision/models where
 * that is installed, else in `modelsFolder()`, where the file need not be: `ensureModels()` puts it there.
 */
export function modelPath(model: 'mtcnn' | 'resnet128'): string {
  const file = `${model}.safetensors`;
  const own = path.join(modelsFolder(), file);
  if (process.env.FAISS_VISION_MODELS && existsSync(own)) return own;
  return companionFile('models', file) ?? own;
}
