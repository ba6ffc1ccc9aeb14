import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { FaissVisionError } from '../error';
import { invalid } from '../image/check';
import { checkFeatures, checkId, checkMetadata, checkName, checkSignal } from './checks';
import { nameOf, sameMark } from './database';
import type { Enrolment, Entry, NewFace, Store } from './store';
import type { Metadata, ModelMark } from './types';

export interface TransferOptions {
  /** Called with how many people are done, of how many. */
  onProgress?: (done: number, total: number) => void;
  /** Stops with the signal's reason. */
  signal?: AbortSignal;
}

export interface ImportOptions extends TransferOptions {
  /**
   * What to do with somebody whose name another person has here: `'refuse'` stops with ERR_NAME_TAKEN, `'add'` takes them for the same
   * person and adds the faces to the one who is here. Default `'refuse'`.
   */
  sameName?: 'refuse' | 'add';
}

export interface Transferred {
  people: number;
  faces: number;
  /** How many of them were not there before. */
  added: { people: number; faces: number };
}

const FORMAT = 'faiss-vision gallery';
const VERSION = 1;
/** Faces in one transaction: one sync for all of them. */
const BATCH = 512;

// The first line says what it is, each following one holds a person, and the last one a checksum of all before.
interface Head {
  format: string;
  version: number;
  mark: ModelMark;
  people: number;
}

interface Line {
  id: string;
  name: string;
  metadata: Metadata;
  created: string;
  updated: string;
  faces: { id: string; created: string; box?: NewFace['box']; score?: number; features: string; thumbnail?: string }[];
}

export async function exportTo(store: Store, file: string, { onProgress, signal }: TransferOptions): Promise<Transferred> {
  checkPath(file);
  checkSignal(signal)?.throwIfAborted();
  const total = (await store.describe()).people;
  const temporary = `${file}.tmp-${process.pid}`;
  const out = await writing(file, () => open(temporary, 'w', 0o600)); // as private as the gallery
  const hash = createHash('sha256');
  const done = { people: 0, faces: 0 };
  try {
    let text = '';
    const flush = async () => {
      hash.update(text);
      await writing(file, () => writeAll(out, text));
      text = '';
    };
    text = `${JSON.stringify({ format: FORMAT, version: VERSION, mark: store.mark, people: total } satisfies Head)}\n`;
    for await (const entry of store.entries()) {
      signal?.throwIfAborted();
      text += `${JSON.stringify(lineOf(entry))}\n`;
      done.people++;
      done.faces += entry.faces.length;
      if (text.length > 1 << 20) await flush();
      if (done.people % 100 === 0) onProgress?.(done.people, Math.max(total, done.people));
    }
    await flush();
    text = `${JSON.stringify({ end: { ...done, sha256: hash.digest('hex') } })}\n`;
    await writing(file, () => writeAll(out, text));
    await writing(file, () => out.sync());
    await out.close();
    await writing(file, () => rename(temporary, file));
  } catch (error) {
    await out.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
  onProgress?.(done.people, done.people);
  return { ...done, added: { ...done } };
}

async function writeAll(out: FileHandle, text: string): Promise<void> {
  await out.writeFile(text); // goes on where the last one ended
}

async function writing<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new FaissVisionError('ERR_FILE_WRITE', `could not write ${file}: ${(error as Error).message}`, { cause: error });
  }
}

function lineOf({ person, faces }: Entry): Line {
  return {
    ...{ id: person.id, name: person.name, metadata: person.metadata },
    ...{ created: person.created.toISOString(), updated: person.updated.toISOString() },
    faces: faces.map(({ id, created, box, score, features, thumbnail }) => ({
      ...{ id, created: created.toISOString() },
      ...(box === undefined ? {} : { box }),
      ...(score === undefined ? {} : { score }),
      features: base64(features),
      ...(thumbnail === undefined ? {} : { thumbnail: base64(thumbnail) }),
    })),
  };
}

const base64 = ({ buffer, byteOffset, byteLength }: Uint8Array | Float32Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64');

export async function importFrom(store: Store, file: string, options: ImportOptions): Promise<Transferred> {
  checkPath(file);
  const { people } = await checkFile(file, store.mark, options.signal);
  async function* enrolments(): AsyncGenerator<Enrolment> {
    let number = 0;
    for await (const text of lines(file)) {
      number++;
      if (number > 1 && number <= people + 1) yield enrolmentOf(text, store.mark, `${file}, line ${number}`);
    }
  }
  return enrollAll(store, enrolments(), people, options);
}

/** Looks through the whole file before anything is taken over, so that half of a file is not imported. */
async function checkFile(file: string, mark: ModelMark, signal: AbortSignal | undefined): Promise<{ people: number }> {
  const corrupt = (why: string) => new FaissVisionError('ERR_IMPORT_CORRUPT', `${file} ${why}`);
  const hash: Hash = createHash('sha256');
  let head: Head | undefined;
  let end: { people: number; sha256: string } | undefined;
  let people = 0;
  for await (const text of lines(file)) {
    signal?.throwIfAborted();
    if (end !== undefined) throw corrupt('has something behind its end');
    if (head === undefined) {
      head = parsed(text) as Head;
      if (head?.format !== FORMAT) throw corrupt('is no export of a gallery');
      if (head.version !== VERSION) throw corrupt(`has the version ${head.version}; this faiss-vision reads ${VERSION}`);
      if (typeof head.mark !== 'object' || head.mark === null) throw corrupt('does not say whose features it has');
      if (!sameMark(head.mark, mark)) {
        throw new FaissVisionError('ERR_MODEL_MISMATCH', `${file} has features of ${nameOf(head.mark)}, the gallery those of ${nameOf(mark)}`);
      }
    } else if (text.startsWith('{"end":')) {
      end = (parsed(text) as { end: { people: number; sha256: string } } | undefined)?.end;
      if (end === undefined) throw corrupt('is cut off within its last line');
      continue;
    } else {
      people++;
    }
    hash.update(`${text}\n`);
  }
  if (head === undefined || end === undefined) throw corrupt('is cut off, or no export of a gallery: its last line is missing');
  if (end.people !== people || end.sha256 !== hash.digest('hex')) throw corrupt('was changed: its checksum does not fit');
  return { people };
}

async function* lines(file: string): AsyncGenerator<string> {
  const stream = createReadStream(file);
  try {
    yield* createInterface({ input: stream, crlfDelay: Infinity });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'ERR_FILE_NOT_FOUND' : 'ERR_FILE_READ';
    throw new FaissVisionError(code, `could not read ${file}: ${(error as Error).message}`, { cause: error });
  } finally {
    stream.destroy();
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A line may be anybody's own: it is checked like the arguments of a call. */
function enrolmentOf(text: string, mark: ModelMark, where: string): Enrolment {
  try {
    const { id, name, metadata, created, updated, faces } = JSON.parse(text) as Line;
    return {
      ...{ id: checkId(id, 'id'), name: checkName(name), metadata: checkMetadata(metadata) },
      ...{ created: dateOf(created, 'created'), updated: dateOf(updated, 'updated') },
      faces: faces.map((face): NewFace => {
        const bytes = Buffer.from(face.features, 'base64');
        if (bytes.length !== mark.dimension * 4) throw invalid('features', `${mark.dimension * 4} bytes`, `${bytes.length} bytes`);
        return {
          ...{ id: checkId(face.id, 'faces.id'), created: dateOf(face.created, 'faces.created') },
          ...(face.box === undefined ? {} : { box: face.box }),
          ...(face.score === undefined ? {} : { score: face.score }),
          features: checkFeatures(new Float32Array(Uint8Array.from(bytes).buffer), mark),
          ...(face.thumbnail === undefined ? {} : { thumbnail: Uint8Array.from(Buffer.from(face.thumbnail, 'base64')) }),
        };
      }),
    };
  } catch (error) {
    throw new FaissVisionError('ERR_IMPORT_CORRUPT', `${where}: ${(error as Error).message}`, { cause: error });
  }
}

function dateOf(text: unknown, argument: string): Date {
  const date = new Date(text as string);
  if (typeof text !== 'string' || Number.isNaN(date.getTime())) throw invalid(argument, 'a date as text', text);
  return date;
}

export async function copyAll(from: Store, to: Store, options: ImportOptions): Promise<Transferred> {
  if (!sameMark(from.mark, to.mark)) {
    throw new FaissVisionError('ERR_MODEL_MISMATCH', `one gallery has features of ${nameOf(from.mark)}, the other those of ${nameOf(to.mark)}`);
  }
  async function* enrolments(): AsyncGenerator<Enrolment> {
    for await (const { person, faces } of from.entries()) yield { ...person, faces };
  }
  return enrollAll(to, enrolments(), (await from.describe()).people, options);
}

async function enrollAll(store: Store, enrolments: AsyncIterable<Enrolment>, total: number, options: ImportOptions): Promise<Transferred> {
  const { onProgress, signal, sameName = 'refuse' } = options;
  if (sameName !== 'refuse' && sameName !== 'add') throw invalid('sameName', "'refuse' or 'add'", sameName);
  checkSignal(signal)?.throwIfAborted();
  const done: Transferred = { people: 0, faces: 0, added: { people: 0, faces: 0 } };
  let batch: Enrolment[] = [];
  let faces = 0;
  const flush = async () => {
    for (const { created, added } of await store.enroll(batch, { sameName })) {
      done.added.people += created ? 1 : 0;
      done.added.faces += added;
    }
    done.people += batch.length;
    done.faces += faces;
    batch = [];
    faces = 0;
    onProgress?.(done.people, Math.max(total, done.people));
  };
  for await (const enrolment of enrolments) {
    signal?.throwIfAborted();
    batch.push(enrolment);
    faces += enrolment.faces.length;
    if (faces >= BATCH || batch.length >= BATCH) await flush();
  }
  if (batch.length > 0) await flush();
  return done;
}

function checkPath(file: unknown): void {
  if (typeof file !== 'string' || file === '' || file.includes('\0')) throw invalid('file', 'a path', file);
}
