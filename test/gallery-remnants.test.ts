import { randomBytes } from 'node:crypto';
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { holdsAny } from '../dist/gallery/remnants';
import { withFolder } from './support/gallery';

it('finds pieces of every length at every place, over the borders of what is read at once, and nothing else', () =>
  withFolder(async (folder) => {
    const file = join(folder, 'bytes');
    const size = (8 << 20) * 2 + 2000;
    const bytes = randomBytes(size);
    writeFileSync(file, bytes);
    const descriptor = openSync(file, 'r+');
    for (const length of [1024, 24, 16, 15, 8]) {
      const piece = randomBytes(length);
      const others = [
        randomBytes(24),
        randomBytes(40),
        randomBytes(12),
        Buffer.alloc(30, 7),
        Buffer.concat([piece.subarray(0, length - 1), Buffer.of(piece.at(-1)! ^ 1)]),
      ];
      expect(holdsAny(file, [piece, ...others])).toBe(false);
      for (const at of [0, 1, 4095, (8 << 20) - length, (8 << 20) - 1, (8 << 20) - (length >> 1), 8 << 20, (16 << 20) + 3, size - length]) {
        writeSync(descriptor, piece, 0, length, at);
        expect(holdsAny(file, [...others, piece]), `${length} at ${at}`).toBe(true);
        expect(holdsAny(file, [piece]), `${length} at ${at}`).toBe(true);
        writeSync(descriptor, bytes, at, length, at);
      }
    }
    closeSync(descriptor);
    expect(holdsAny(file, [])).toBe(false);
  }));
