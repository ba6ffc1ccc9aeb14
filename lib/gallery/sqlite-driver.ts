import type BetterSqlite3 from 'better-sqlite3';
import { FaissVisionError } from '../error';

export type Connection = BetterSqlite3.Database;
export type Statement = BetterSqlite3.Statement<unknown[]>;

/** How long a call waits for another process that writes. */
const BUSY_MS = 5000;

/**
 * A connection to an SQLite file by better-sqlite3, an optional peer that is loaded at the first call.
 * @throws ERR_SQLITE_UNAVAILABLE, and as `told` says
 */
export function connect(path: string, options: { readonly: boolean }): Connection {
  const Database = driver();
  try {
    return new Database(path, { readonly: options.readonly, fileMustExist: options.readonly, timeout: BUSY_MS });
  } catch (error) {
    // The package is there and its native half is not, or is for another Node.
    if (!isSqlite(error)) throw unavailable(error);
    throw told(error, path);
  }
}

/** @throws ERR_SQLITE_UNAVAILABLE */
export function driver(): typeof BetterSqlite3 {
  try {
    return require('better-sqlite3') as typeof BetterSqlite3;
  } catch (error) {
    throw unavailable(error);
  }
}

function unavailable(error: unknown): FaissVisionError {
  const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
  return new FaissVisionError(
    'ERR_SQLITE_UNAVAILABLE',
    `a gallery in a file needs the package better-sqlite3 (12 or newer), which could not be loaded (${reason}). ` +
      `Run: npm install better-sqlite3@12 (in a clone: npm run setup)`,
    { cause: error },
  );
}

function isSqlite(error: unknown): error is Error & { code: string } {
  return error instanceof Error && error.name === 'SqliteError';
}

const CODES: readonly [prefix: string, code: string, what: string][] = [
  ['SQLITE_FULL', 'ERR_GALLERY_FULL', 'there is no space left on the disk'],
  ['SQLITE_BUSY', 'ERR_GALLERY_BUSY', `another process has been writing for more than ${BUSY_MS / 1000} s`],
  ['SQLITE_LOCKED', 'ERR_GALLERY_BUSY', 'another connection holds it'],
  ['SQLITE_READONLY', 'ERR_GALLERY_READONLY', 'it cannot be written'],
  ['SQLITE_PERM', 'ERR_GALLERY_READONLY', 'it cannot be written'],
  ['SQLITE_CANTOPEN', 'ERR_GALLERY_OPEN', 'it cannot be opened; file and folder must be there and, for the files -wal and -shm beside it, writable'],
  ['SQLITE_NOTADB', 'ERR_GALLERY_FOREIGN', 'it is not an SQLite file'],
  ['SQLITE_CORRUPT', 'ERR_GALLERY_CORRUPT', 'it is damaged'],
  ['SQLITE_IOERR', 'ERR_GALLERY_IO', 'the system could not read or write it'],
];

/** SQLite's error as ours, with its own words; any other as it is. */
export function told(error: unknown, path: string): unknown {
  if (!isSqlite(error)) return error;
  const [, code, what] = CODES.find(([prefix]) => error.code.startsWith(prefix)) ?? ['', 'ERR_GALLERY_SQLITE', 'SQLite refused'];
  return new FaissVisionError(code, `${path}: ${what} (${error.code}: ${error.message})`, { cause: error });
}
