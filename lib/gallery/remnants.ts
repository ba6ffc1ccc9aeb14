import { closeSync, openSync, readSync } from 'node:fs';

// secure_delete overwrites what is deleted. When SQLite moves rows of others from page to page, though, copies of them can stay behind
// in the space that a page does not use (rebuildPage in sqlite3.c): one of some hundred rows, found by looking. If such a row is deleted
// later, its copy is still there. So what was removed is looked for in the file's bytes, and where it is found the file is written anew.

const CHUNK = 8 << 20;
/** From here on looking costs more than writing the file anew. */
const MOST = 1024;
/** Shorter pieces are looked for one by one. */
const LONG = 16;

/** Whether one of some pieces of at most 4 KiB stands anywhere in a file; taken for granted where there are too many to look for. */
export function holdsAny(path: string, pieces: readonly Buffer[]): boolean {
  if (pieces.length > MOST) return true;
  const file = openSync(path, 'r');
  const long = pieces.filter(({ length }) => length >= LONG);
  const short = pieces.filter(({ length }) => length < LONG);
  const search = searcher(long);
  try {
    const overlap = Math.max(0, ...pieces.map(({ length }) => length - 1));
    const buffer = Buffer.allocUnsafeSlow(CHUNK + overlap);
    for (let at = 0, kept = 0; ;) {
      const read = readSync(file, buffer, kept, CHUNK, at);
      if (read === 0) return false;
      const bytes = buffer.subarray(0, kept + read);
      if (short.some((piece) => bytes.includes(piece)) || search(bytes)) return true;
      at += read;
      const end = Math.min(overlap, bytes.length);
      buffer.copyWithin(0, bytes.length - end, bytes.length);
      kept = end;
    }
  } finally {
    closeSync(file);
  }
}

/**
 * Looks for all pieces in one pass, by how far the two bytes at the end of the window let it move on (Wu and Manber, 1994): as fast as
 * the file is read, where one search for each piece takes a multiple.
 */
function searcher(pieces: readonly Buffer[]): (bytes: Buffer) => boolean {
  const window = Math.min(255, ...pieces.map(({ length }) => length));
  const shifts = new Uint8Array(65536).fill(window - 1);
  // The few that may stand where nothing is to be passed over: numbers of features share their bytes, so that happens often.
  const candidates = new Map<number, Buffer[]>();
  for (const piece of pieces) {
    for (let i = 0; i < window - 1; i++) {
      const pair = piece[i]! | (piece[i + 1]! << 8);
      shifts[pair] = Math.min(shifts[pair]!, window - 2 - i);
    }
    const last = piece[window - 2]! | (piece[window - 1]! << 8);
    candidates.set(last, [...(candidates.get(last) ?? []), piece]);
  }
  return (bytes) => {
    if (pieces.length === 0) return false;
    for (let at = window - 2; at < bytes.length - 1;) {
      const pair = bytes[at]! | (bytes[at + 1]! << 8);
      const shift = shifts[pair]!;
      if (shift > 0) {
        at += shift;
        continue;
      }
      const begin = at - window + 2;
      const stands = (piece: Buffer) => bytes.compare(piece, 0, piece.length, begin, Math.min(bytes.length, begin + piece.length)) === 0;
      if (candidates.get(pair)!.some(stands)) return true;
      at++;
    }
    return false;
  };
}

/** A piece of features that no other face has. */
export const pieceOf = (features: Buffer): Buffer => features.subarray(features.length >> 1, (features.length >> 1) + 24);

/** A piece of a JPEG behind its tables, which all of them have; what is short of that leaves nothing but tables in a row's own page. */
export const pieceOfJpeg = (jpeg: Buffer): Buffer[] => (jpeg.length < 704 ? [] : [jpeg.subarray(672, 704)]);

/** How a person stands in their row: three columns side by side. */
export const rowOf = (id: string, name: string, metadata: string): Buffer => Buffer.from(`${id}${name}${metadata}`).subarray(0, 2048);

/** How a name stands in its index: a record of text and row number (sqlite.org/fileformat2.html, 2.1). */
export function indexEntryOf(name: string, number: number): Buffer {
  const text = Buffer.from(name);
  const kind = 13 + 2 * text.length;
  const kinds = kind < 128 ? [kind] : [0x80 | (kind >> 7), kind & 0x7f];
  const [type, size] =
    number === 1 ? [9, 0] : number < 2 ** 7 ? [1, 1] : number < 2 ** 15 ? [2, 2] : number < 2 ** 23 ? [3, 3] : number < 2 ** 31 ? [4, 4] : [5, 6];
  const value = Buffer.alloc(size!);
  if (size! > 0) value.writeIntBE(number, 0, size!);
  return Buffer.concat([Buffer.from([kinds.length + 2, ...kinds, type!]), text, value]);
}
