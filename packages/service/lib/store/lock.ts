import { hostname } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { FaissVisionError, codeOf, messageOf } from '../error.js';
import { databaseFile, type Db } from './database.js';

/**
 * Keeps a data folder for one service, by SQLite's lock on a file of its own that stays empty: the system ends it with the process, however
 * that ends, and the database itself is open to others, as for tokens.
 * @returns what ends it
 * @throws ERR_DATA_IN_USE, and ERR_DATABASE where nothing can be locked there
 */
export function lockData(folder: string): () => void {
  let lock: Db | undefined;
  try {
    lock = new Database(join(folder, 'service.lock'), { timeout: 0 });
    lock.exec('BEGIN EXCLUSIVE');
    return lock.close.bind(lock);
  } catch (error) {
    lock?.close();
    if (codeOf(error) !== 'SQLITE_BUSY') {
      throw new FaissVisionError('ERR_DATABASE', `the data folder "${folder}" cannot be locked: ${messageOf(error)}`, { cause: error });
    }
    throw new FaissVisionError('ERR_DATA_IN_USE', `the data folder "${folder}" is in use by another service${holderOf(folder)}`, { cause: error });
  }
}

/** Writes down who has the folder, for whoever is refused. */
export function tellHolder(db: Db): void {
  db.prepare("INSERT OR REPLACE INTO settings (name, value) VALUES ('holder', ?)").run(`process ${process.pid} on ${hostname()}`);
}

function holderOf(folder: string): string {
  let db: Db | undefined;
  try {
    db = new Database(databaseFile(folder), { readonly: true });
    const { value } = db.prepare("SELECT value FROM settings WHERE name = 'holder'").get() as { value: string };
    return `: ${value}`;
  } catch {
    return ''; // it has only just begun
  } finally {
    db?.close();
  }
}
