import * as fs from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { FaissVisionError } from '../error';
import { isMissing, writeAtomically } from './files';

const TRIES = 3;
const PAUSE_MS = 1000;

/** A failure that a further try may mend. */
class Interrupted extends Error {}

export interface DownloadOptions {
  /** Bytes that are here, and all of them where the server says how many. */
  onBytes?: (done: number, total: number | undefined) => void;
  /** Called before a further try, with what the last one ended with. */
  onRetry?: (failed: number, tries: number, reason: string) => void;
}

/** What is known of an unfinished file, kept beside it: only the same file may be gone on with. */
interface Part {
  url: string;
  /** The whole file's bytes, where the server said how many. */
  total?: number | undefined;
  /** The server's strong ETag or its date of change, where it gave one; what `If-Range` may ask by. */
  validator?: string | undefined;
}

/**
 * Fetches a file over HTTP. What has come stays in `file`.part when the connection is cut, and the next try, of this call
 * or of a later one, asks for the rest alone (Range, RFC 9110, section 14); where the server cannot do that or has
 * another file by now, it begins anew. Call only under the folder's lock.
 *
 * @param file gets its name when it is whole: as long as the server said
 * @throws ERR_MODEL_DOWNLOAD with the server's answer or the network's error after three tries
 */
export async function download(url: string, file: string, { onBytes = () => {}, onRetry = () => {} }: DownloadOptions = {}): Promise<void> {
  for (let failed = 0; ; ) {
    try {
      await attempt(url, file, onBytes);
      break;
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      failed++;
      if (failed === TRIES) {
        throw new FaissVisionError('ERR_MODEL_DOWNLOAD', `${url}: ${error.message} (${TRIES} tries)`, { cause: error });
      }
      onRetry(failed, TRIES, error.message);
      await sleep(PAUSE_MS * failed);
    }
  }
}

async function attempt(url: string, file: string, onBytes: NonNullable<DownloadOptions['onBytes']>): Promise<void> {
  const [part, about] = [`${file}.part`, `${file}.part.json`];
  const begun = await readPart(part, about, url);
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (begun) headers.range = `bytes=${begun.size}-`;
  if (begun?.validator !== undefined) headers['if-range'] = begun.validator;
  const response = await fetch(url, { headers }).catch((error: unknown) => {
    throw new Interrupted(reasonOf(error), { cause: error });
  });
  const { status } = response;
  if (status !== 200 && status !== 206) {
    await response.body?.cancel();
    if (status === 416) await fs.rm(part, { force: true });
    const message = `the server answered ${status} ${response.statusText}`.trimEnd();
    if (status === 416 || status === 429 || status >= 500) throw new Interrupted(message);
    throw new FaissVisionError('ERR_MODEL_DOWNLOAD', `${url}: ${message}`);
  }

  let done = 0;
  let total = numberIn(response.headers.get('content-length'), /^(\d+)$/);
  if (status === 206) {
    const range = response.headers.get('content-range');
    done = numberIn(range, /^bytes (\d+)-/) ?? -1;
    total = numberIn(range, /\/(\d+)$/);
    if (done !== begun?.size || total !== begun.total) {
      await response.body?.cancel();
      await fs.rm(part, { force: true });
      throw new Interrupted(`asked for bytes from ${begun?.size} of ${begun?.total}, the server answered with ${range ?? 'no Content-Range'}`);
    }
  } else {
    await fs.rm(part, { force: true });
    await writeAtomically(about, JSON.stringify({ url, total, validator: validatorOf(response.headers) } satisfies Part));
  }

  onBytes(done, total);
  const handle = await fs.open(part, done > 0 ? 'a' : 'w');
  try {
    for await (const chunk of response.body ?? []) {
      await handle.writeFile(chunk as Uint8Array);
      done += (chunk as Uint8Array).length;
      onBytes(done, total);
    }
    await handle.sync();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === 'write') throw error;
    throw new Interrupted(`cut after ${done}${total === undefined ? '' : ` of ${total}`} bytes: ${reasonOf(error)}`, { cause: error });
  } finally {
    await handle.close();
  }
  if (total !== undefined && done !== total) {
    // More than announced cannot be gone on with.
    if (done > total) await fs.rm(part, { force: true });
    throw new Interrupted(`got ${done} of ${total} bytes`);
  }
  await fs.rename(part, file);
  await fs.rm(about, { force: true });
}

/** The unfinished file of this address, with the bytes that are here; undefined where there is none that could be gone on with. */
async function readPart(part: string, about: string, url: string): Promise<(Part & { size: number }) | undefined> {
  try {
    const known = JSON.parse(await fs.readFile(about, 'utf8')) as Part;
    const { size } = await fs.stat(part);
    return known.url === url && known.total !== undefined && size > 0 && size < known.total ? { ...known, size } : undefined;
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** RFC 9110, 13.1.5: a weak ETag must not be used in If-Range. */
function validatorOf(headers: Headers): string | undefined {
  const etag = headers.get('etag');
  if (etag && !etag.startsWith('W/')) return etag;
  return headers.get('last-modified') ?? undefined;
}

function numberIn(text: string | null, pattern: RegExp): number | undefined {
  const digits = text?.match(pattern)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** What the network said; fetch() itself only says "fetch failed" or "terminated". */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  if (!(cause instanceof Error)) return message;
  return cause.message || ((cause as NodeJS.ErrnoException).code ?? message);
}
