import { readFileSync } from 'node:fs';

/** The part of opentype.js that is used here; version 2 comes without types. */
interface Font {
  unitsPerEm: number;
  charToGlyphIndex(character: string): number;
  charToGlyph(character: string): {
    advanceWidth: number;
    getPath(x: number, y: number, size: number): { commands: Command[] };
  };
}

interface Command {
  type: 'M' | 'L' | 'Q' | 'C' | 'Z';
  x?: number;
  y?: number;
  x1?: number;
  y1?: number;
  x2?: number;
  y2?: number;
}

// Smallest and likeliest first: most labels need the first file alone.
const scripts = ['latin', 'latin-ext', 'cyrillic', 'greek', 'vietnamese', 'cyrillic-ext'] as const;
const fonts = new Map<string, Font>();

function font(script: (typeof scripts)[number]): Font {
  let loaded = fonts.get(script);
  if (!loaded) {
    const { parse } = require('opentype.js') as { parse(bytes: ArrayBuffer): Font };
    const file = readFileSync(require.resolve(`@fontsource/play/files/play-${script}-700-normal.woff`));
    loaded = parse(new Uint8Array(file).buffer);
    fonts.set(script, loaded);
  }
  return loaded;
}

/**
 * One line of text as an outline, so that it looks the same on a machine without fonts. Letters of
 * Latin, Greek and Cyrillic script; any other character is an empty box.
 */
export interface Outline {
  /** From the first letter's left to the last one's right, for a text one unit high. */
  width: number;
  /** SVG path data with the baseline's left end at (x, y). `size` is the letters' height in pixels. */
  path(x: number, y: number, size: number): string;
}

export function outline(text: string): Outline {
  let width = 0;
  const glyphs = Array.from(text.normalize('NFC'), (character) => {
    const from = font(scripts.find((script) => font(script).charToGlyphIndex(character) > 0) ?? 'latin');
    const glyph = from.charToGlyph(character);
    const left = width;
    width += glyph.advanceWidth / from.unitsPerEm;
    return { glyph, left };
  });
  const path = (x: number, y: number, size: number) =>
    glyphs.flatMap(({ glyph, left }) => glyph.getPath(x + left * size, y, size).commands.map(data)).join('');
  return { width, path };
}

// Not opentype.js's own toPathData: that of 2.0.0 leaves out closing lines, which blackens some letters.
function data({ type, x, y, x1, y1, x2, y2 }: Command): string {
  return type + [x1, y1, x2, y2, x, y].filter((n) => n !== undefined).map((n) => n.toFixed(2)).join(' ');
}
