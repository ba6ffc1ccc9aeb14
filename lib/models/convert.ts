import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import type { Recipe, SourcePackage } from './manifest';
import { encodeSafetensors } from './safetensors';
import type { TensorMap } from './tensor';
import { readTfjsWeights } from './tfjs-weights';
import { readTorchFile } from './torch-file';

/** The bytes that a recipe makes out of the package's files in `folder`. The same files give the same bytes. */
export async function makeOutput(recipe: Recipe, source: SourcePackage, folder: string): Promise<Buffer> {
  const read = (file: string): Promise<Buffer> => fs.readFile(path.join(folder, file));
  switch (recipe.from) {
    case 'file':
      return read(recipe.path);
    case 'torch': {
      const tensors: TensorMap = new Map();
      for (const { prefix, path: file } of recipe.stateDicts) {
        for (const [name, tensor] of readTorchFile(await read(file), file)) tensors.set(prefix + name, tensor);
      }
      return encodeSafetensors({ tensors, metadata: metadataOf(recipe.model, source) });
    }
    case 'tfjs': {
      const manifest = (await read(recipe.manifest)).toString('utf8');
      const tensors = readTfjsWeights(manifest, await read(recipe.weights), recipe.weights);
      return encodeSafetensors({ tensors, metadata: metadataOf(recipe.model, source) });
    }
  }
}

function metadataOf(model: string, { name, version, license }: SourcePackage): Record<string, string> {
  return { format: 'faiss-vision', model, source: `${name} ${version}`, license };
}
