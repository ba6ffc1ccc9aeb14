import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Gallery, type GalleryOptions } from '../../dist/gallery';
import { seeded } from './seeded';

/** What features of made faces are compared by; it has no eye for photos. */
export const made = { dimension: 32, metric: 'l2', threshold: 0.6, model: 'made' } as const;

/** A made face: a seeded direction of length 1. Faces of different names are far apart. */
export function faceOf(name: string, dimension: number = made.dimension): Float32Array {
  const numbers = seeded(name, dimension).map((u) => u - 0.5);
  const length = Math.hypot(...numbers);
  return numbers.map((number) => number / length);
}

/** Another one of the same person, nearer than the threshold. */
export function likeness(name: string, which: string, dimension: number = made.dimension): Float32Array {
  const other = faceOf(`${name} ${which}`, dimension);
  return faceOf(name, dimension).map((number, i) => number + 0.2 * other[i]!);
}

/** Several faces in one array. */
export function facesOf(...faces: Float32Array[]): Float32Array {
  const all = new Float32Array(faces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const face of faces) {
    all.set(face, at);
    at += face.length;
  }
  return all;
}

/** A folder that is there while a test runs. */
export async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-gallery-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A gallery in such a folder, closed at the end. */
export async function withGallery<T>(work: (gallery: Gallery, file: string) => Promise<T>, options: GalleryOptions = {}): Promise<T> {
  return withFolder(async (folder) => {
    const file = join(folder, 'people.db');
    const gallery = await Gallery.open(file, { recognizer: made, ...options });
    try {
      return await work(gallery, file);
    } finally {
      await gallery.close().catch(() => {});
    }
  });
}

/** What a rejection says. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => new Error('it resolved'),
    (error: unknown) => error as Error & { code?: string },
  );
  return 'code' in error && error.code !== undefined ? error.code : `${error.name}: ${error.message}`;
}
