import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { pipeline } from 'node:stream/promises';

/** What tells one file's content from another's. */
export interface Fingerprint {
  size: number;
  sha256: string;
}

export function fingerprintOf(bytes: Uint8Array): Fingerprint {
  return { size: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') };
}

/** Size and SHA-256 of a file, or undefined where there is none. */
export async function fingerprint(file: string): Promise<Fingerprint | undefined> {
  const hash = createHash('sha256');
  let size = 0;
  try {
    await pipeline(createReadStream(file), async function (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        size += chunk.length;
        hash.update(chunk);
      }
    });
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  return { size, sha256: hash.digest('hex') };
}

/** One sentence saying how `got` differs from `expected`, or undefined where it does not. */
export function difference(expected: Fingerprint, got: Fingerprint | undefined): string | undefined {
  if (!got) return 'is missing';
  if (got.size !== expected.size) return `expected ${expected.size} bytes, got ${got.size}`;
  if (got.sha256 !== expected.sha256) return `expected SHA-256 ${expected.sha256}, got ${got.sha256}`;
  return undefined;
}

/** The prefix of everything unfinished; what carries it belongs to nobody once its lock is free. */
export const UNFINISHED = '.unfinished-';

/** A name of its own for something unfinished that will become `name`. */
export function unfinishedName(name: string): string {
  return `${UNFINISHED}${path.basename(name)}-${process.pid}-${randomBytes(4).toString('hex')}`;
}

/** Removes what a run that was killed left in `folder`. Call only under the folder's lock. */
export async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await fs.readdir(folder)) {
    if (name.startsWith(UNFINISHED)) await fs.rm(path.join(folder, name), { recursive: true, force: true, maxRetries: 3 });
  }
}

/**
 * Writes a file so that others see the old one or the whole new one, also after a power cut.
 *
 * @param workplace where the unfinished file lies, on the same file system
 */
export async function writeAtomically(
  file: string,
  bytes: Uint8Array | string,
  workplace: string = path.dirname(file),
): Promise<void> {
  const unfinished = path.join(workplace, unfinishedName(file));
  try {
    await fs.writeFile(unfinished, bytes, { flush: true });
    await fs.rename(unfinished, file);
  } catch (error) {
    await fs.rm(unfinished, { force: true });
    throw error;
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
