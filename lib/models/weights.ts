import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { FaissVisionError } from '../error';
import { modelsFolder } from './cache';
import { convertFacenet } from './convert-weights';
import { download } from './download';
import { type Fingerprint, difference, fingerprint, isMissing, writeAtomically } from './files';
import { withFolderLock } from './lock';
import { type ReleasedWeights, releasedPath, releasedUrl } from './released';

/**
 * What is being done right now.
 * - `wait`: another process is at work in the models folder
 * - `download`: `done` bytes of `file` are here, of `total` where the server says how many
 * - `retry`: `done` of `total` tries have failed because of `reason`
 * - `convert`: `file` is being read and converted
 */
export interface WeightsProgress {
  step: 'wait' | 'download' | 'retry' | 'convert';
  file: string;
  done?: number;
  total?: number | undefined;
  reason?: string;
}

/** What a published file was when it first came; kept beside it as `file`.json. */
export interface WeightsRecord extends Fingerprint {
  url: string;
  note: string;
}

const NOTE =
  'No checksum of this file is published. These are the size and the SHA-256 of the first download; a later one must be the same. ' +
  'Remove this record to accept another file.';

/**
 * Puts converted weights into the models folder: downloads the published file there, unless it lies there already, and
 * converts it. A download that was cut goes on where it ended. Its length is checked against the server's, its content
 * by the converter (the archive's CRC-32 and every variable's name and shape) and against the first download's SHA-256.
 *
 * @param from a file that is already here, in place of the download; it stays where it is
 * @returns path of the converted weights
 * @throws ERR_MODEL_DOWNLOAD saying which file is wanted, from where, and where to put it; ERR_MODEL_CHECKSUM;
 *   ERR_MODEL_LOCKED; what `convertFacenet` throws
 */
export async function fetchWeights(weights: ReleasedWeights, { from, onProgress = () => {} }: {
  from?: string | undefined;
  onProgress?: (progress: WeightsProgress) => void;
} = {}): Promise<string> {
  const folder = modelsFolder();
  const output = releasedPath(weights);
  await withFolderLock(folder, ({ file }) => onProgress({ step: 'wait', file }), async () => {
    const file = from ?? path.join(folder, weights.file);
    const came = from === undefined && (await ensureFile(weights, file, onProgress));
    onProgress({ step: 'convert', file });
    try {
      await convertFacenet(file, output);
    } catch (error) {
      // What was put here by hand is not this project's to remove.
      if (came) await fs.rm(file, { force: true });
      throw error;
    }
    if (from === undefined) await record(weights, file);
  });
  return output;
}

/** Downloads the published file unless it lies there, unchanged since its record or put there by hand. Returns whether it did. */
async function ensureFile(weights: ReleasedWeights, file: string, onProgress: (progress: WeightsProgress) => void): Promise<boolean> {
  const first = await readRecord(file);
  const there = await fingerprint(file);
  if (there && !(first && difference(first, there))) return false;
  const { name, file: wanted } = weights;
  const url = releasedUrl(weights);
  try {
    await download(url, file, {
      onBytes: (done, total) => onProgress({ step: 'download', file: wanted, done, total }),
      onRetry: (done, total, reason) => onProgress({ step: 'retry', file: wanted, done, total, reason }),
    });
  } catch (cause) {
    if (!(cause instanceof FaissVisionError)) throw cause;
    const message =
      `${name} needs ${wanted}, which could not be fetched from ${cause.message}. ` +
      `Fetch it on another machine and put it at ${file}, or run: faiss-vision models fetch ${name} --from FILE`;
    throw new FaissVisionError('ERR_MODEL_DOWNLOAD', message, { cause });
  }
  const changed = first && difference(first, await fingerprint(file));
  if (changed) {
    await fs.rm(file);
    const message = `${url} is not what it was at the first download (${changed}); remove ${recordOf(file)} to accept it`;
    throw new FaissVisionError('ERR_MODEL_CHECKSUM', message);
  }
  return true;
}

/** Writes down what a published file was, unless that was done before. */
async function record(weights: ReleasedWeights, file: string): Promise<void> {
  if (await readRecord(file)) return;
  const content: WeightsRecord = { url: releasedUrl(weights), ...(await fingerprint(file))!, note: NOTE };
  await writeAtomically(recordOf(file), `${JSON.stringify(content, null, 2)}\n`);
}

function recordOf(file: string): string {
  return `${file}.json`;
}

async function readRecord(file: string): Promise<WeightsRecord | undefined> {
  try {
    return JSON.parse(await fs.readFile(recordOf(file), 'utf8')) as WeightsRecord;
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
