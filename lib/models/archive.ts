import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import * as tar from 'tar';
import { FaissVisionError } from '../error';
import { Zip } from './zip';

/**
 * The wanted files of a package's archive, by their path in it: a wheel (zip) as it stands, a `.tgz` or `.tar.gz`
 * without its root folder. A file that the archive lacks is missing in the result. Nothing is written to the disk.
 *
 * @throws ERR_ARCHIVE_CORRUPT where the archive is cut short or damaged
 */
export async function readFromArchive(archive: string, wanted: ReadonlySet<string>): Promise<Map<string, Buffer>> {
  return archive.endsWith('.whl') ? readFromZip(archive, wanted) : readFromTarball(archive, wanted);
}

async function readFromZip(archive: string, wanted: ReadonlySet<string>): Promise<Map<string, Buffer>> {
  const zip = new Zip(await fs.readFile(archive), path.basename(archive));
  return new Map([...wanted].filter((name) => zip.has(name)).map((name) => [name, zip.read(name)]));
}

async function readFromTarball(archive: string, wanted: ReadonlySet<string>): Promise<Map<string, Buffer>> {
  const belowRoot = (name: string): string => name.slice(name.indexOf('/') + 1);
  const contents: Promise<[string, Buffer]>[] = [];
  try {
    await tar.list({
      file: archive,
      strict: true,
      filter: (name) => wanted.has(belowRoot(name)),
      onReadEntry: (entry) => {
        contents.push(entry.concat().then((content) => [belowRoot(entry.path), content]));
      },
    });
    return new Map(await Promise.all(contents));
  } catch (cause) {
    await Promise.allSettled(contents);
    throw new FaissVisionError('ERR_ARCHIVE_CORRUPT', `${path.basename(archive)}: ${(cause as Error).message}`, { cause });
  }
}
