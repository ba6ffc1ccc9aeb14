import { closeSync, openSync, readSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FaissVisionError } from '../error';

/** An empty file that only its owner reads, for SQLite to make a database of; or one that is a database. */
export function create(path: string, allowed: boolean): void {
  let file: number | undefined;
  try {
    file = openSync(path, allowed ? 'a+' : 'r', 0o600);
    const head = Buffer.alloc(16);
    const read = readSync(file, head, 0, 16, 0);
    // SQLite takes a file of a few bytes for an empty one, and writes over it.
    if (read > 0 && head.toString('latin1') !== 'SQLite format 3\0')
      throw new FaissVisionError('ERR_GALLERY_FOREIGN', `${path}: it is not an SQLite file`);
  } catch (error) {
    if (error instanceof FaissVisionError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && !allowed) throw new FaissVisionError('ERR_GALLERY_NOT_FOUND', `${path}: there is no gallery`, { cause: error });
    // A file that cannot be written can still be read.
    if (allowed && (code === 'EACCES' || code === 'EROFS' || code === 'EPERM')) return create(path, false);
    if (code === 'ENOSPC' || code === 'EDQUOT') throw new FaissVisionError('ERR_GALLERY_FULL', `${path}: ${message}`, { cause: error });
    throw new FaissVisionError('ERR_GALLERY_OPEN', `${path}: ${message}`, { cause: error });
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Whether the process that a temporary file's name tells of, `PID-N`, is still there. */
function isRunning(suffix: string): boolean {
  try {
    return process.kill(Number.parseInt(suffix, 10), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Takes away what a process that was killed left of a file of the index, and that file too unless it is of use: it holds personal data. */
export async function takeAway(file: string, ofUse: boolean): Promise<void> {
  const begin = `${basename(file)}.tmp-`;
  const folder = dirname(file);
  const left = (await readdir(folder)).filter((name) => name.startsWith(begin) && !isRunning(name.slice(begin.length)));
  for (const one of [...left.map((name) => join(folder, name)), ...(ofUse ? [] : [file])]) {
    await rm(one, { force: true, recursive: true }).catch(() => {}); // not ours to remove, then
  }
}
