import { FaissVisionError } from '../error';
import { decode, packed, type ImageInput } from '../image';
import { invalid } from '../image/check';
import { outline } from '../image/text';
import { COLOR_MAPS, palette, type ColorMap } from './color-map';

/** Which values are near: the high ones, or the low ones as with weights that give metres. */
export type Near = 'high' | 'low';

export interface DrawOptions {
  /** Default `'grey'`. */
  colorMap?: ColorMap;
  /** Pixels of the drawn map, such as those of the photo. Default the map's own 160 x 128. */
  size?: { width: number; height: number };
}

/** Share of the map that must be near for `near` to be true. */
export const NEAR_COVERAGE = 0.35;

// The SVG renderer's (librsvg's) own limit for a side.
const MAX_SIDE = 32767;

/**
 * One depth for each of 160 x 128 cells of a picture, and what the article on FCRN reads out of it: a normalised map, the mask
 * of what is near, how much of the picture that covers, and whether that is enough for an alert. A cell whose value is not
 * above 0, or not finite, has no reading: it is transparent in pictures and counts as 0 everywhere.
 */
export class DepthMap {
  readonly width: number;
  readonly height: number;
  /** width x height numbers, rows first from the picture's top left, in the weights' own unit. */
  readonly values: Float32Array;
  /** Which values are near. */
  readonly nearIs: Near;
  /** Whether the weights were seeded ones: then this is no real depth. */
  readonly seeded: boolean;

  /**
   * @param values width x height numbers, rows first; kept, not copied
   * @throws ERR_INVALID_ARGUMENT
   */
  constructor(values: Float32Array, about: { width?: number; height?: number; near?: Near; seeded?: boolean } = {}) {
    const { width = 160, height = 128, near = 'high', seeded = false } = about;
    for (const [name, side] of [['width', width], ['height', height]] as const) {
      if (!Number.isSafeInteger(side) || side < 1) throw invalid(name, 'a whole number of at least 1', side);
    }
    if (!(values instanceof Float32Array) || values.length !== width * height) {
      throw invalid('values', `a Float32Array of width * height = ${width * height} numbers`, values);
    }
    if (near !== 'high' && near !== 'low') throw invalid('near', "'high' or 'low'", near);
    this.values = values;
    this.width = width;
    this.height = height;
    this.nearIs = near;
    this.seeded = seeded;
  }

  /** The readings, the smallest as 0 and the largest as 1. 0 where there is no reading, and everywhere where all readings are equal. */
  normalised(): Float32Array {
    const { min, max } = this.#range();
    const { values } = this;
    const normalised = new Float32Array(values.length);
    if (!(max > min)) return normalised;
    // Plain loops here and below: typed arrays' iterators and callbacks take longer than everything else around the network.
    for (let i = 0; i < normalised.length; i++) {
      const value = values[i]!;
      if (isReading(value)) normalised[i] = (value - min) / (max - min);
    }
    return normalised;
  }

  /** 1 for a cell in the nearer half of the readings' range, else 0: `normalised()` of at least 0.5, or at most 0.5 where low is near. */
  mask(): Uint8Array {
    const { min, max } = this.#range();
    const { values, nearIs } = this;
    const mask = new Uint8Array(values.length);
    if (!(max > min)) return mask; // readings that are all equal have no nearer half
    for (let i = 0; i < mask.length; i++) {
      const value = values[i]!;
      if (!isReading(value)) continue;
      const normalised = Math.fround((value - min) / (max - min)); // as normalised() has it
      mask[i] = (nearIs === 'high' ? normalised >= 0.5 : normalised <= 0.5) ? 1 : 0;
    }
    return mask;
  }

  /** The mask's share of all cells (20,480 of them), 0 to 1. */
  get coverage(): number {
    const mask = this.mask();
    let sum = 0;
    for (let i = 0; i < mask.length; i++) sum += mask[i]!;
    return sum / mask.length;
  }

  /** Whether something is near: `coverage` above 0.35. */
  get near(): boolean {
    return this.coverage > NEAR_COVERAGE;
  }

  /**
   * The map as a PNG file, the bytes of which are returned: the nearest reading in the colour map's last colour (white for
   * `'grey'`), the farthest in its first, transparent where there is no reading. Seeded maps have that written on them.
   *
   * @throws ERR_INVALID_ARGUMENT
   */
  async toPng(options: DrawOptions = {}): Promise<Buffer> {
    const { size = { width: this.width, height: this.height }, colorMap = 'grey' } = options;
    const drawn = await this.#draw(size.width, size.height, colorMap);
    // At the map's own size half the time of the default level and a tenth more bytes.
    return drawn.png({ compressionLevel: 3 }).toBuffer();
  }

  /**
   * The photo on the left and the map at the photo's size on the right, as a PNG file.
   * @throws what decoding a picture throws, ERR_INVALID_ARGUMENT, ERR_IMAGE_TOO_LARGE above 32,767 pixels a side
   */
  async sideBySide(photo: ImageInput, options: Pick<DrawOptions, 'colorMap'> = {}): Promise<Buffer> {
    const pixels = await decode(photo, 'photo');
    const { width, height, channels } = pixels;
    if (2 * width > MAX_SIDE || height > MAX_SIDE) {
      throw new FaissVisionError(
        'ERR_IMAGE_TOO_LARGE',
        `photo: it is ${width} x ${height}; side by side the limit is ${MAX_SIDE >> 1} x ${MAX_SIDE} pixels`,
      );
    }
    const sharp = require('sharp') as typeof import('sharp');
    const map = await (await this.#draw(width, height, options.colorMap ?? 'grey')).raw().toBuffer();
    const left = await sharp(packed(pixels), { raw: { width, height, channels } })
      .flatten({ background: '#ffffff' })
      .toColourspace('srgb')
      .removeAlpha()
      .raw()
      .toBuffer();
    return sharp({ create: { width: 2 * width, height, channels: 4, background: '#00000000' } })
      .composite([
        { input: left, raw: { width, height, channels: 3 }, left: 0, top: 0 },
        { input: map, raw: { width, height, channels: 4 }, left: width, top: 0 },
      ])
      .png()
      .toBuffer();
  }

  /** The drawn map, four channels. */
  async #draw(width: number, height: number, colorMap: ColorMap) {
    for (const [name, side] of [['size.width', width], ['size.height', height]] as const) {
      if (!Number.isSafeInteger(side) || side < 1 || side > MAX_SIDE) throw invalid(name, `a whole number from 1 to ${MAX_SIDE}`, side);
    }
    if (!COLOR_MAPS.includes(colorMap)) throw invalid('colorMap', `one of '${COLOR_MAPS.join("', '")}'`, colorMap);
    const sharp = require('sharp') as typeof import('sharp');
    const raw = { width: this.width, height: this.height, channels: 4 as const };
    let drawn = sharp(this.#pixels(colorMap), { raw });
    if (width !== this.width || height !== this.height) drawn = drawn.resize(width, height, { fit: 'fill', kernel: 'cubic' });
    if (this.seeded) drawn = drawn.composite([{ input: Buffer.from(seededLabel(width, height)) }]);
    return drawn;
  }

  #pixels(colorMap: ColorMap): Uint8Array {
    const colors = palette(colorMap);
    const normalised = this.normalised();
    const { values, nearIs } = this;
    const pixels = new Uint32Array(normalised.length);
    for (let i = 0; i < pixels.length; i++) {
      const nearness = nearIs === 'high' ? normalised[i]! : 1 - normalised[i]!;
      if (isReading(values[i]!)) pixels[i] = colors[Math.round(255 * nearness)]!;
    }
    return new Uint8Array(pixels.buffer);
  }

  /** The smallest and the largest reading; Infinity and -Infinity where there is none. */
  #range(): { min: number; max: number } {
    const { values } = this;
    let [min, max] = [Infinity, -Infinity];
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      if (!isReading(value)) continue;
      if (value < min) min = value;
      if (value > max) max = value;
    }
    return { min, max };
  }
}

function isReading(value: number): boolean {
  return value > 0 && value < Infinity;
}

/** A line at the bottom as an SVG of that size: nobody shall take a seeded map for a real one. */
function seededLabel(width: number, height: number): string {
  const text = outline('SEEDED WEIGHTS: NO REAL DEPTH');
  const size = Math.min((0.94 * width) / text.width, 0.12 * height);
  const band = 1.5 * size;
  const path = text.path((width - text.width * size) / 2, height - 0.42 * size, size);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
    `<rect y="${(height - band).toFixed(2)}" width="${width}" height="${band.toFixed(2)}" fill="#8c0000"/><path d="${path}" fill="#fff"/></svg>`
  );
}
