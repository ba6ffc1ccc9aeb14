import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { holdsAny } from '../dist/gallery/remnants';
import { withFolder } from './support/gallery';

it('finds pieces of every length at every place, over the borders of what is read at once, and nothing else', () =>
  withFolder(async (folder) => {
    const file = join(folder, 'bytes');
    const size = (8 << 20) * 2 + 2000;
    const bytes = randomBytes(size);
    for (const length of [1024, 100, 24, 17, 16, 15, 8]) {
      const piece = randomBytes(length);
      const others = [
        randomBytes(24),
        randomBytes(40),
        randomBytes(12),
        Buffer.alloc(30, 7),
        Buffer.concat([piece.subarray(0, length - 1), Buffer.of(piece.at(-1)! ^ 1)]),
      ];
      writeFileSync(file, bytes);
      expect(holdsAny(file, [piece, ...others])).toBe(false);
      for (const at of [0, 1, 4095, (8 << 20) - length, (8 << 20) - 1, (8 << 20) - (length >> 1), 8 << 20, (16 << 20) + 3, size - length]) {
        const with_ = Buffer.from(bytes);
        piece.copy(with_, at);
        writeFileSync(file, with_);
        expect(holdsAny(file, [...others, piece]), `${length} at ${at}`).toBe(true);
        expect(holdsAny(file, [piece]), `${length} at ${at}`).toBe(true);
      }
    }
    expect(holdsAny(file, [])).toBe(false);
  }));
