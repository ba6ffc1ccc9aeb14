import { inspect } from 'node:util';
import { FaissVisionError } from '../error';

/** Most pixels in one picture, 2^26 (8192 x 8192): beyond it a header of a few bytes could claim all memory. */
export const maxPixels = 2 ** 26;

/** The error for an argument of the wrong type or shape. */
export function invalid(name: string, expected: string, value: unknown): FaissVisionError {
  return new FaissVisionError('ERR_INVALID_ARGUMENT', `\`${name}\` must be ${expected}, got ${show(value)}`);
}

export function checkSize(name: string, what: string, width: number, height: number, limit = maxPixels): void {
  if (width * height <= limit) return;
  throw new FaissVisionError('ERR_IMAGE_TOO_LARGE', `${name}: ${what} is ${width} x ${height} = ${width * height} pixels; the limit is ${limit} pixels`);
}

/** Checks an option that asks for a lower limit. */
export function checkMaxPixels(limit: unknown): void {
  if (limit === undefined || (Number.isSafeInteger(limit) && (limit as number) >= 1 && (limit as number) <= maxPixels)) return;
  throw invalid('maxPixels', `a whole number from 1 to ${maxPixels}`, limit);
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
