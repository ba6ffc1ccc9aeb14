/** Colours for 0, 1 and evenly spaced numbers between them; what lies between two is interpolated. */
const COLORS = {
  grey: ['#000000', '#ffffff'],
  heat: ['#000000', '#c81400', '#ffb400', '#ffffff'],
  viridis: ['#440154', '#472d7b', '#3b528b', '#2c728e', '#21918c', '#28ae80', '#5ec962', '#addc30', '#fde725'],
} as const satisfies Record<ColorMap, readonly string[]>;

/** `'grey'`: black to white, as in the article. `'heat'`: black, red, yellow, white. `'viridis'`: matplotlib's, dark blue to yellow. */
export type ColorMap = 'grey' | 'heat' | 'viridis';

export const COLOR_MAPS = Object.keys(COLORS) as ColorMap[];

const palettes = new Map<ColorMap, Uint32Array>();

/** 256 opaque colours; each number's bytes in memory are red, green, blue and opacity. */
export function palette(map: ColorMap): Uint32Array {
  const made = palettes.get(map);
  if (made) return made;
  const stops = COLORS[map].map((color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)));
  const colors = new Uint8Array(256 * 4).fill(255);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    for (let c = 0; c < 3; c++) {
      const [from, to] = [stops[low]![c]!, stops[low + 1]![c]!];
      colors[4 * i + c] = Math.round(from + (to - from) * (place - low));
    }
  }
  const palette = new Uint32Array(colors.buffer);
  palettes.set(map, palette);
  return palette;
}
