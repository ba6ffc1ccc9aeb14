import type { RawImage } from 'faiss-vision';
import type { Box } from '../store/events.js';

/** Cells on a side of the grid over which a face's sharpness is measured. */
const GRID = 48;

/**
 * How sharp a part of a picture is: the variance of the Laplacian (Pech-Pacheco et al. 2000) of its brightness on a grid of 48 x 48.
 * 0 is flat; some tens are a blurred face, some hundreds a sharp one.
 */
export function sharpness({ data, width, height, channels, stride = width * channels }: RawImage, box: Box): number {
  const grid = new Float32Array(GRID * GRID);
  const green = channels === 1 ? 0 : 1; // most of the brightness, and its place is the same in RGB and BGR
  for (let row = 0; row < GRID; row++) {
    const y = clamp(Math.round(box.y + ((row + 0.5) * box.height) / GRID), height);
    for (let column = 0; column < GRID; column++) {
      const x = clamp(Math.round(box.x + ((column + 0.5) * box.width) / GRID), width);
      grid[row * GRID + column] = data[y * stride + x * channels + green]!;
    }
  }
  let sum = 0;
  let squares = 0;
  const count = (GRID - 2) ** 2;
  for (let row = 1; row < GRID - 1; row++) {
    for (let column = 1; column < GRID - 1; column++) {
      const at = row * GRID + column;
      const value = grid[at - 1]! + grid[at + 1]! + grid[at - GRID]! + grid[at + GRID]! - 4 * grid[at]!;
      sum += value;
      squares += value * value;
    }
  }
  return squares / count - (sum / count) ** 2;
}

/** What makes one look at a face better than another: the detector's score x size x sharpness. */
export function quality(score: number, box: Box, sharp: number): number {
  return score * Math.sqrt(box.width * box.height) * sharp;
}

/** The part of a picture around a box, half a face wider on each side, in memory of its own. */
export function cropped({ data, width, height, channels, order = 'rgb', stride = width * channels }: RawImage, box: Box): RawImage {
  const left = clamp(Math.floor(box.x - box.width / 2), width);
  const top = clamp(Math.floor(box.y - box.height / 2), height);
  const right = clamp(Math.ceil(box.x + box.width * 1.5), width) + 1;
  const bottom = clamp(Math.ceil(box.y + box.height * 1.5), height) + 1;
  const row = (right - left) * channels;
  const out = new Uint8Array(row * (bottom - top));
  for (let y = top; y < bottom; y++) out.set(data.subarray(y * stride + left * channels, y * stride + left * channels + row), (y - top) * row);
  return { data: out, width: right - left, height: bottom - top, channels, order };
}

function clamp(value: number, size: number): number {
  return Math.min(size - 1, Math.max(0, value));
}
