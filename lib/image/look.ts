import { visionAddon } from '../addon';
import type { Places } from '../calls';
import type { FaissVisionError } from '../error';
import { decode, type Decoding } from './decode';
import { giveBackSoon } from './give-back';
import type { ImageInput, Pixels } from './input';

/**
 * How many pictures may be in memory as pixels, for the recogniser and for a gallery that decodes for it; the rest wait as files,
 * since pixels take much memory. The processor looks at eight together, and half as many may be decoded meanwhile. A GPU looks at six
 * times eight at most: so many files at once, and some that wait, where it decodes them too; where the processor does, enough to keep
 * the threads busy that decode.
 */
export function photosAtOnce(device: string | undefined, decoder?: string): number {
  if (decoder === 'cuda') return 64;
  return device === undefined || device === 'cpu' ? 12 : 32;
}

/**
 * What a network says of a picture, which is decoded once there is a place for its pixels; their memory is free again with the answer.
 * @throws what `decode` and `look` throw
 */
export function lookAt<T>(image: ImageInput, how: Omit<Decoding, 'turn'>, places: Places, look: (pixels: Pixels) => Promise<T>): Promise<T> {
  // Not `{ ...how, turn }`: each such object gets a hidden class of its own, which only a full collection frees.
  return places.hold(async (turn) => lookOnce(await decode(image, 'image', { turn, ...how }), look));
}

async function lookOnce<T>(pixels: Pixels, look: (pixels: Pixels) => Promise<T>): Promise<T> {
  try {
    return await look(pixels);
  } catch (error) {
    if (pixels.jpeg === undefined || (error as FaissVisionError).code !== 'ERR_IMAGE_DECODE') throw error;
    return await lookOnce(await pixels.jpeg(), look); // the processor's decoder takes it, or says what is wrong
  } finally {
    if (pixels.own) visionAddon().detach(pixels.own);
    giveBackSoon();
  }
}
