import { FaissVisionError } from '../error';
import { invalid } from './check';
import { decode } from './decode';
import type { ImageInput, Pixels } from './input';
import { outline } from './text';

/** A face to draw. Everything is in pixels of the upright picture, from its top left corner. */
export interface DrawnFace {
  box: { x: number; y: number; width: number; height: number };
  /** Points as [x, y]; the five of a `Face`, or any number. */
  landmarks?: readonly (readonly [number, number])[];
  /** Lines of text beside the box. Latin, Greek and Cyrillic letters. */
  label?: string;
  /** As `'#rrggbb'`. Default a light green. */
  color?: string;
}

interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

// The SVG renderer's (librsvg's) own limit for a side.
const maxSide = 32767;

/**
 * Draws boxes, landmarks and labels on a picture. Lines and text grow with the picture; a label stays
 * inside it, shrunk where it must be.
 *
 * @returns the bytes of a PNG file of the picture's own size; what was transparent is white
 * @throws what `decode` throws; ERR_INVALID_ARGUMENT for a face of the wrong shape;
 *   ERR_IMAGE_TOO_LARGE for a side above 32,767 pixels
 */
export async function drawFaces(image: ImageInput, faces: readonly DrawnFace[]): Promise<Buffer> {
  if (!Array.isArray(faces)) throw invalid('faces', 'an array of faces', faces);
  faces.forEach((face, i) => checkFace(face, `faces[${i}]`));
  const pixels = await decode(image);
  const { width, height, channels } = pixels;
  if (Math.max(width, height) > maxSide) {
    const message = `image: it is ${width} x ${height}; the limit for drawing is ${maxSide} pixels a side`;
    throw new FaissVisionError('ERR_IMAGE_TOO_LARGE', message);
  }
  const sharp = require('sharp') as typeof import('sharp');
  return sharp(packed(pixels), { raw: { width, height, channels } })
    .flatten({ background: '#ffffff' })
    .composite([{ input: Buffer.from(overlay(width, height, faces)) }])
    .removeAlpha()
    .png()
    .toBuffer();
}

function overlay(width: number, height: number, faces: readonly DrawnFace[]): string {
  const scale = Math.sqrt(width * height);
  const line = Math.max(2, scale / 350);
  const shapes = faces.map(({ box, landmarks = [], color = '#3ddc97' }) => {
    const frame = `x="${n(box.x)}" y="${n(box.y)}" width="${n(box.width)}" height="${n(box.height)}" rx="${n(line)}"`;
    const dots = landmarks.map(([x, y]) => `<circle cx="${n(x)}" cy="${n(y)}" r="${n(line * 1.6)}"/>`);
    // A dark line under the coloured one keeps it visible on every background.
    return (
      `<g fill="none"><rect ${frame} stroke="#000" stroke-opacity="0.4" stroke-width="${n(line * 1.7)}"/>` +
      `<rect ${frame} stroke="${color}" stroke-width="${n(line)}"/></g>` +
      `<g fill="${color}" stroke="#000" stroke-opacity="0.6" stroke-width="${n(line / 2)}">${dots.join('')}</g>`
    );
  });
  // After all boxes, so that no line crosses a label.
  const taken: Rect[] = faces.map(({ box }) => box);
  const labels = faces.map(({ box, label, color = '#3ddc97' }) => {
    if (!label) return '';
    return drawLabel(label, box, color, { width, height, size: Math.max(11, scale / 42), line, taken });
  });
  const size = `width="${width}" height="${height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size}>${shapes.join('')}${labels.join('')}</svg>`;
}

interface Page {
  width: number;
  height: number;
  /** The letters' height where there is room. */
  size: number;
  line: number;
  /** Boxes and the labels placed so far, better left uncovered. The new label is added. */
  taken: Rect[];
}

function drawLabel(label: string, box: Rect, color: string, page: Page): string {
  const lines = label.split('\n').map(outline);
  const padding = 0.35;
  const leading = 1.25;
  const wide = Math.max(...lines.map((each) => each.width)) + 2 * padding;
  const high = lines.length * leading + padding;
  // Smaller, down to half, beside a small box: in a group its neighbours' faces are near.
  const beside = Math.max(page.size / 2, (1.2 * box.width) / wide);
  const size = Math.min(page.size, beside, page.width / wide, page.height / high);
  const width = wide * size;
  const height = high * size;

  const x = clamp(box.x - page.line / 2, 0, page.width - width);
  const [above, below] = [box.y - page.line - height, box.y + box.height + page.line];
  const places = [above, below, box.y + page.line].map((y) => {
    const place = { x, y: clamp(y, 0, page.height - height), width, height };
    return { place, hidden: page.taken.reduce((sum, other) => sum + shared(place, other), 0) };
  });
  const { place: rect } = places.reduce((best, next) => (next.hidden < best.hidden ? next : best));
  page.taken.push(rect);

  const d = lines.map((each, i) => each.path(rect.x + padding * size, rect.y + ((i + 1) * leading - 0.15) * size, size));
  const frame = `x="${n(rect.x)}" y="${n(rect.y)}" width="${n(width)}" height="${n(height)}"`;
  return `<rect ${frame} rx="${n(size / 6)}" fill="${color}"/><path d="${d.join('')}" fill="${inkOn(color)}"/>`;
}

/** The area that two rectangles have in common. */
function shared(a: Rect, b: Rect): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return Math.max(0, width) * Math.max(0, height);
}

/** Black or white, whichever reads better: weights of ITU-R BT.601. */
function inkOn(color: string): string {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16)) as [number, number, number];
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? '#000' : '#fff';
}

/** A copy with red first and no gaps between rows, as sharp wants it; nobody can change it while sharp reads. */
export function packed({ data, width, height, channels, order, stride }: Pixels): Uint8Array {
  const row = width * channels;
  const out = new Uint8Array(row * height);
  for (let y = 0; y < height; y++) out.set(data.subarray(y * stride, y * stride + row), y * row);
  if (order === 'rgb' || channels === 1) return out;
  for (let i = 0; i < out.length; i += channels) {
    const blue = out[i] as number;
    out[i] = out[i + 2] as number;
    out[i + 2] = blue;
  }
  return out;
}

// Everything that reaches the SVG is a checked number, a checked colour or an outline: nothing to escape.
function checkFace(face: DrawnFace, name: string): void {
  if (typeof face !== 'object' || face === null) throw invalid(name, 'a face { box, landmarks, label, color }', face);
  const { box, landmarks, label, color } = face;
  const numbers = box && [box.x, box.y, box.width, box.height];
  if (!numbers?.every(Number.isFinite)) throw invalid(`${name}.box`, '{ x, y, width, height } in finite numbers', box);
  if (landmarks !== undefined && !(Array.isArray(landmarks) && landmarks.every(isPoint))) {
    throw invalid(`${name}.landmarks`, 'an array of [x, y] in finite numbers', landmarks);
  }
  if (label !== undefined && typeof label !== 'string') throw invalid(`${name}.label`, 'a string', label);
  if (color !== undefined && !/^#[0-9a-f]{6}$/i.test(color)) throw invalid(`${name}.color`, "'#rrggbb'", color);
}

function isPoint(point: unknown): boolean {
  return Array.isArray(point) && point.length === 2 && point.every(Number.isFinite);
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(value, high));
}

function n(value: number): string {
  return value.toFixed(2);
}
