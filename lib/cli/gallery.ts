import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import * as path from 'node:path';
import { Gallery, type GalleryOptions, type Match, type MetadataFilter } from '../gallery';
import { homeFolder } from '../models/cache';
import { UsageError } from './command';

/** Options of every command that opens a gallery. */
export const galleryOptions = {
  db: { type: 'string' },
  'key-file': { type: 'string' },
} as const;

export const galleryUsage = `  --db FILE             the gallery: an SQLite file, or milvus://host:port/name (default: FAISS_VISION_DB, else
                        ${path.join('~', path.relative(homeFolder(), defaultGallery({})))})
  --key-file FILE       the key that its features are encrypted with: 32 bytes, or 64 hexadecimal digits`;

/** Options that choose people by what is known of them. */
export const whereOptions = { where: { type: 'string', multiple: true } } as const;
export const whereUsage = `  --where KEY=VALUE     only people whose metadata say so; may be given several times`;

interface Given {
  db?: string | undefined;
  'key-file'?: string | undefined;
}

/** Where people are kept unless somebody says otherwise: the platform's folder for a user's data, and not its cache, which may be emptied. */
export function defaultGallery(env: NodeJS.ProcessEnv = process.env): string {
  if (env.FAISS_VISION_DB) return env.FAISS_VISION_DB;
  const home = homeFolder();
  const places: Partial<Record<NodeJS.Platform, string>> = {
    darwin: path.join(home, 'Library', 'Application Support'),
    win32: env.LOCALAPPDATA ?? path.join(home, 'AppData', 'Local'),
  };
  // The XDG base directory specification: a relative path there counts as not set.
  const xdg = env.XDG_DATA_HOME && path.isAbsolute(env.XDG_DATA_HOME) ? env.XDG_DATA_HOME : path.join(home, '.local', 'share');
  return path.join(places[process.platform] ?? xdg, 'faiss-vision', 'people.db');
}

/** Whether that gallery is there already, or on a server. */
export function hasDefaultGallery(): boolean {
  const location = defaultGallery();
  return location.includes('://') || existsSync(location);
}

/** Opens the gallery that a command was given; the default one's folder is made. */
export async function openGallery(values: Given, options: GalleryOptions = {}): Promise<Gallery> {
  const location = values.db ?? defaultGallery();
  if (values.db === undefined && options.recognizer !== undefined && options.readOnly !== true && !location.includes('://')) {
    await mkdir(path.dirname(path.resolve(location)), { recursive: true, mode: 0o700 });
  }
  const encryptionKey = values['key-file'] === undefined ? undefined : await keyOf(values['key-file']);
  return Gallery.open(location, { ...options, ...(encryptionKey && { encryptionKey }) });
}

async function keyOf(file: string): Promise<Uint8Array> {
  const bytes = await readFile(file).catch((error: Error) => {
    throw new UsageError(`--key-file ${file} cannot be read: ${error.message}`);
  });
  if (bytes.length === 32) return bytes;
  const text = bytes.toString('latin1').trim();
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  throw new UsageError(`--key-file ${file} must hold 32 bytes or 64 hexadecimal digits, got ${bytes.length} bytes`);
}

/** `KEY=VALUE`s as a filter. A shell has text only, so what reads as a number, true or false may be either. */
export function filterOf(given: readonly string[] | undefined): MetadataFilter | undefined {
  if (given === undefined) return undefined;
  return Object.fromEntries(
    given.map((each) => {
      const at = each.indexOf('=');
      if (at < 1) throw new UsageError(`--where must be KEY=VALUE, got ${JSON.stringify(each)}`);
      const text = each.slice(at + 1);
      const value = ['true', 'false'].includes(text) ? text === 'true' : text.trim() === '' ? NaN : Number(text);
      return [each.slice(0, at), typeof value === 'boolean' || Number.isFinite(value) ? [text, value] : text];
    }),
  );
}

/** A person near to a face, as JSON has it. */
export function matchJson({ person: { id, name, metadata }, face, score }: Match) {
  return { id, name, metadata, face, score };
}

/** What a gallery's scores are, for a table's head. */
export function scoreName({ mark }: Gallery): string {
  return mark.metric === 'l2' ? '>Distance' : '>Cosine';
}
