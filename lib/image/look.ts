import { visionAddon } from '../addon';
import type { Places } from '../calls';
import { decode, type Decoding } from './decode';
import { giveBackSoon } from './give-back';
import type { ImageInput, Pixels } from './input';

/**
 * Pictures in memory as pixels, for the recogniser and for a gallery that decodes for it: eight are looked at together, and half as
 * many may be decoded meanwhile; the rest wait as files, since pixels take much memory.
 */
export const PHOTOS_AT_ONCE = 12;

/**
 * What a network says of a picture, which is decoded once there is a place for its pixels; their memory is free again with the answer.
 * @throws what `decode` and `look` throw
 */
export function lookAt<T>(image: ImageInput, how: Omit<Decoding, 'turn'>, places: Places, look: (pixels: Pixels) => Promise<T>): Promise<T> {
  return places.hold(async (turn) => {
    const pixels = await decode(image, 'image', { ...how, turn });
    const found = await look(pixels);
    if (pixels.own) visionAddon().detach(pixels.own);
    giveBackSoon();
    return found;
  });
}
