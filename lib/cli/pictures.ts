import { existsSync, statSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { type DrawnFace, drawFaces } from '../image';
import { UsageError } from './command';

export const drawUsage = `  --draw OUT            the photo with its faces, as PNG; for several photos OUT is a folder or holds {name},
                        for which each photo's name is put`;

/** Where each photo's picture goes; every one to a place of its own, and none over a photo. */
export function picturePaths(photos: readonly string[], out: string): Map<string, string> {
  const isFolder = out.endsWith('/') || (existsSync(out) && statSync(out).isDirectory()) || (photos.length > 1 && !/\.[a-z]+$/i.test(basename(out)));
  if (photos.length > 1 && !isFolder && !out.includes('{name}')) {
    throw new UsageError(`--draw ${out} is one file for ${photos.length} photos; give a folder, or put {name} into it`);
  }
  const template = isFolder ? join(out, '{name}.png') : out;
  const taken = new Map(photos.map((photo) => [resolve(photo), photo]));
  return new Map(
    photos.map((photo) => {
      const picture = template.replaceAll('{name}', () => basename(photo, extname(photo)));
      const other = taken.get(resolve(picture));
      if (other !== undefined) throw new UsageError(`--draw would write ${picture} for ${photo} over that of ${other}`);
      taken.set(resolve(picture), photo);
      return [photo, picture];
    }),
  );
}

/** Draws faces on a photo into a file whose folder is made. */
export async function drawPicture(photo: string, faces: readonly DrawnFace[], picture: string): Promise<void> {
  const drawn = await drawFaces(photo, faces);
  await mkdir(dirname(picture), { recursive: true });
  await writeFile(picture, drawn);
}
