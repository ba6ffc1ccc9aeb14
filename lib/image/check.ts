import { inspect } from 'node:util';
import { FaissVisionError } from '../error';

/** Most pixels in one picture, 2^26 (8192 x 8192): beyond it a header of a few bytes could claim all memory. */
export const maxPixels = 2 ** 26;

/** The error for an argument of the wrong type or shape. */
export function invalid(name: string, expected: string, value: unknown): FaissVisionError {
  return new FaissVisionError('ERR_INVALID_ARGUMENT', `\`${name}\` must be ${expected}, got ${show(value)}`);
}

export function checkSize(name: string, what: string, width: number, height: number): void {
  if (width * height <= maxPixels) return;
  throw new FaissVisionError(
    'ERR_IMAGE_TOO_LARGE',
    `${name}: ${what} is ${width} x ${height} = ${width * height} pixels; the limit is ${maxPixels} pixels`,
  );
}

// customInspect would run the caller's code while their mistake is being described.
function show(value: unknown): string {
  return inspect(value, {
    depth: 0,
    breakLength: Infinity,
    maxArrayLength: 5,
    maxStringLength: 80,
    customInspect: false,
  });
}
