import type { ImageInput } from '../image';
import { FaissVisionError } from '../error';
import { invalid } from '../image/check';
import { checkFeatures, checkSignal } from './checks';
import { openStore } from './open-store';
import { type GalleryRecognizer, markOf } from './recognizer';
import type { MilvusOptions } from './milvus-options';
import type { SqliteOptions } from './sqlite-store';
import type { Store } from './store';
import type { GalleryFace, ModelMark } from './types';

export interface ReembedOptions extends Pick<SqliteOptions, 'encryptionKey'>, MilvusOptions {
  /** The new one. */
  recognizer: GalleryRecognizer;
  /**
   * Gives a face's photo, where the gallery has no thumbnail of it or a better picture is at hand. The largest face in it is taken;
   * of a picture with several, one that is cut to the face. Undefined takes the thumbnail.
   */
  photo?: (face: GalleryFace) => ImageInput | undefined | Promise<ImageInput | undefined>;
  /** Called with how many faces are done, of how many. */
  onProgress?: (done: number, total: number) => void;
  /** Stops with the signal's reason; what is done stays, and another call goes on behind it. */
  signal?: AbortSignal;
}

export interface Reembedded {
  /** How many faces the gallery has, all with new features. */
  faces: number;
  /** How many were embedded by this call; the others had been before. */
  embedded: number;
}

const PAGE = 8;

interface Staged {
  id: string;
  features: Float32Array;
}

/** Makes the new features the gallery's; false where somebody was enrolled at the last moment. */
async function adopted(store: Store, mark: ModelMark): Promise<boolean> {
  try {
    await store.adopt(mark);
    return true;
  } catch (error) {
    if (error instanceof FaissVisionError && error.code === 'ERR_REEMBED_INCOMPLETE') return false;
    throw error;
  }
}

export async function reembed(location: string, options: ReembedOptions): Promise<Reembedded> {
  if (typeof options !== 'object' || options === null) throw invalid('options', 'an object with a recogniser', options);
  const { recognizer, photo, onProgress, signal, ...opening } = options;
  const mark = await markOf(recognizer);
  if (recognizer.faces === undefined) throw invalid('recognizer', 'one that finds faces in photos', recognizer);
  if (photo !== undefined && typeof photo !== 'function') throw invalid('photo', 'a function', photo);
  checkSignal(signal)?.throwIfAborted();
  const store = await openStore(location, opening);
  try {
    const { faces: total } = await store.describe();
    const failures: string[] = [];
    let embedded = 0;
    let seen = 0;
    const embed = async (face: GalleryFace): Promise<Staged | undefined> => {
      signal?.throwIfAborted();
      const image = (await photo?.(face)) ?? face.thumbnail;
      const [found] = image === undefined ? [] : await recognizer.faces!(image, { maxFaces: 1 });
      if (found !== undefined) return { id: face.id, features: checkFeatures(found.features, mark, 'recognizer.faces().features') };
      failures.push(`${face.id} (${image === undefined ? 'no thumbnail and no photo' : 'no face found'})`);
      return undefined;
    };
    for (let after: string | undefined; ;) {
      signal?.throwIfAborted();
      // A page at once: the recogniser takes what waits together.
      const page = await store.unstaged(mark, PAGE, after);
      if (page.length === 0 && (failures.length > 0 || (await adopted(store, mark)))) break;
      const staged = (await Promise.all(page.map(embed))).filter((one) => one !== undefined);
      if (staged.length > 0) await store.stage(mark, staged);
      embedded += staged.length;
      seen += page.length;
      onProgress?.(Math.min(seen, total), total);
      after = page.at(-1)?.id ?? after;
    }
    if (failures.length > 0) {
      const some = failures.slice(0, 5).join(', ') + (failures.length > 5 ? ', ...' : '');
      throw new FaissVisionError(
        'ERR_REEMBED_INCOMPLETE',
        `${failures.length} faces could not be embedded anew: ${some}. Give their photos, or remove them; the gallery is as it was`,
      );
    }
    return { faces: (await store.describe()).faces, embedded };
  } finally {
    await store.close();
  }
}
