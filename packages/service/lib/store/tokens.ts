import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { FaissVisionError } from '../error.js';
import type { Db } from './database.js';

/**
 * read: cameras, events, rules, the audit, live pictures. recognise: what a picture that is sent shows. people: the gallery, to
 * read and to change. admin: rules on and off. metrics: the metrics alone.
 */
export const SCOPES = ['read', 'recognise', 'people', 'admin', 'metrics'] as const;
export type Scope = (typeof SCOPES)[number];

export interface TokenInfo {
  id: string;
  name: string;
  scopes: Scope[];
  created: string;
  expires: string | null;
}

interface Row {
  id: string;
  name: string;
  hash: Buffer;
  scopes: string;
  created: number;
  expires: number | null;
}

const SHAPE = /^fv_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;
/** Compared with where there is no such token, so that both take the same time. */
const NOBODY = randomBytes(32);

/** Bearer tokens. Of 256 random bits, so that a plain SHA-256 of one cannot be searched. */
export class Tokens {
  readonly #db: Db;
  readonly #find;
  readonly #any;

  constructor(db: Db) {
    this.#db = db;
    this.#find = db.prepare('SELECT * FROM tokens WHERE id = ?');
    this.#any = db.prepare('SELECT 1 FROM tokens LIMIT 1');
  }

  /**
   * Makes a token. What is returned is the only copy of it.
   * @throws ERR_TOKEN_EXISTS
   */
  create(name: string, scopes: readonly Scope[], expires?: Date): string {
    const id = randomBytes(6).toString('hex');
    const secret = randomBytes(32).toString('base64url');
    try {
      this.#db
        .prepare('INSERT INTO tokens (id, name, hash, scopes, created, expires) VALUES (?, ?, ?, ?, ?, ?)')
        .run(id, name, hashed(secret), [...new Set(scopes)].join(' '), Date.now(), expires?.getTime() ?? null);
    } catch (cause) {
      throw new FaissVisionError('ERR_TOKEN_EXISTS', `there is a token "${name}" already`, { cause });
    }
    return `fv_${id}_${secret}`;
  }

  /** Whose token it is, or undefined. */
  check(token: string): TokenInfo | undefined {
    const [, id, secret] = SHAPE.exec(token) ?? [];
    if (id === undefined || secret === undefined) return undefined;
    const row = this.#find.get(id) as Row | undefined;
    const same = timingSafeEqual(hashed(secret), row?.hash ?? NOBODY);
    if (!row || !same || (row.expires !== null && row.expires <= Date.now())) return undefined;
    return infoOf(row);
  }

  list(): TokenInfo[] {
    return (this.#db.prepare('SELECT * FROM tokens ORDER BY name').all() as Row[]).map(infoOf);
  }

  /** @returns whether there was one */
  remove(name: string): boolean {
    return this.#db.prepare('DELETE FROM tokens WHERE name = ?').run(name).changes === 1;
  }

  get any(): boolean {
    return this.#any.get() !== undefined;
  }
}

function hashed(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

function infoOf({ id, name, scopes, created, expires }: Row): TokenInfo {
  return {
    id,
    name,
    scopes: scopes.split(' ') as Scope[],
    created: new Date(created).toISOString(),
    expires: expires === null ? null : new Date(expires).toISOString(),
  };
}
