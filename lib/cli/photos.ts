import { existsSync, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import { type Io, UsageError, complain, isTold } from './command';
import { progressBar } from './progress';

// Photos wait in memory as pixels; more of them would cost memory and save no time.
const AT_ONCE = 8;

/** What became of one photo: its value, or the error that it ended with. */
export type Outcome<T> = { photo: string; value: T; error?: never } | { photo: string; value?: never; error: { code: string; message: string } };

const PHOTOS_OF_A_FOLDER = '**/*.{jpg,jpeg,png,webp,gif,avif,tif,tiff}';

/**
 * The photos that a command was given, each once, in order. A folder stands for the photos in it and below. Patterns that the shell
 * left alone are expanded; what names a file is that file, whatever characters it has. A pattern that matches nothing stays, to fail
 * as a file of that name.
 */
export async function expandPhotos(given: readonly string[]): Promise<string[]> {
  if (given.length === 0) throw new UsageError('a photo is missing');
  const photos: string[] = [];
  for (const each of given) {
    if (statSync(each, { throwIfNoEntry: false })?.isDirectory()) {
      const found = await glob(PHOTOS_OF_A_FOLDER, { cwd: each, caseSensitiveMatch: false, expandDirectories: false });
      if (found.length === 0) throw new UsageError(`the folder ${each} has no photos`);
      photos.push(...found.sort().map((name) => join(each, name)));
      continue;
    }
    if (existsSync(each) || !isDynamicPattern(each)) {
      photos.push(each);
      continue;
    }
    const found = await glob(each, { absolute: isAbsolute(each), expandDirectories: false });
    photos.push(...(found.length > 0 ? found.sort() : [each]));
  }
  return [...new Set(photos)];
}

/**
 * Does `look` to every photo, several at once, and keeps their order. A photo that fails is told on standard error and
 * does not keep the others from being done. In a terminal a bar shows how far it is.
 */
export async function lookAtPhotos<T>(photos: readonly string[], io: Io, look: (photo: string) => Promise<T>): Promise<Outcome<T>[]> {
  const bar = photos.length > 1 ? progressBar(io, 'photos', photos.length) : undefined;
  const outcomes: Outcome<T>[] = [];
  let next = 0;
  let done = 0;
  const worker = async () => {
    while (next < photos.length) {
      const at = next++;
      const photo = photos[at]!;
      try {
        outcomes[at] = { photo, value: await look(photo) };
      } catch (error) {
        if (!isTold(error)) throw error;
        outcomes[at] = { photo, error: { code: error.code, message: error.message } };
      }
      bar?.update(++done);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, photos.length) }, worker));
  } finally {
    bar?.stop();
  }
  for (const { error } of outcomes) if (error) complain(io, error);
  return outcomes;
}
