import { FaissVisionError } from '../error';
import type { Gallery, Transferred } from '../gallery';
import { type Command, type Io, UsageError, exitCode, parse } from './command';
import { galleryOptions, galleryUsage, openGallery } from './gallery';
import { progressBar } from './progress';
import { CommandRecognizer, recognizerOptions, recognizerUsage } from './recognizer';
import { count } from './table';

const many = (people: number) => (people === 1 ? '1 person' : `${people} people`);

export const exportPeople: Command = {
  name: 'export',
  summary: 'write the gallery to one file',
  usage: `faiss-vision export FILE [--json] [options]

  --json                one JSON object on standard output: how many people and faces
${galleryUsage}

FILE has a line of JSON for each person, with the features of their faces: personal data that whoever may read
the file can read, even where the gallery's are encrypted. Exit code 0, or 3 where it could not be written.`,

  async run(args, io) {
    const { values, positionals } = parse(args, { ...galleryOptions, json: { type: 'boolean', default: false } });
    const file = theFile(positionals);
    const gallery = await openGallery(values);
    try {
      const { people, faces } = await withBar(io, (onProgress) => gallery.export(file, { onProgress }));
      io.stdout.write(values.json ? `${JSON.stringify({ people, faces })}\n` : `  wrote ${many(people)} with ${count(faces, 'face')} to ${file}\n`);
      return exitCode.yes;
    } finally {
      await gallery.close();
    }
  },
};

export const importPeople: Command = {
  name: 'import',
  summary: 'take over the people of such a file',
  usage: `faiss-vision import FILE [--same-name] [--json] [options]

  --same-name           takes people of one name for the same person; otherwise the command stops at them
  --json                one JSON object on standard output: how many people and faces, and how many were new
${galleryUsage}
${recognizerUsage}

The model counts where the gallery is not there yet: it must be the one that made the file's features. Repeated
after an interruption it goes on. Exit code 0, or 3 where the file or the gallery refused it.`,

  async run(args, io) {
    const { values, positionals } = parse(args, {
      ...galleryOptions,
      ...recognizerOptions,
      'same-name': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    });
    const file = theFile(positionals);
    const gallery = await openOrMake(values);
    try {
      const sameName = values['same-name'] ? 'add' : 'refuse';
      const done = await withBar(io, (onProgress) => gallery.import(file, { onProgress, sameName }));
      const { people, faces, added } = done;
      if (values.json) io.stdout.write(`${JSON.stringify(done)}\n`);
      else io.stdout.write(`  read ${many(people)} with ${count(faces, 'face')}; ${many(added.people)} and ${count(added.faces, 'face')} were new\n`);
      return exitCode.yes;
    } finally {
      await gallery.close();
    }
  },
};

/** A gallery that is there needs no model to be opened; a new one takes over the model's mark. */
async function openOrMake(values: Parameters<typeof openGallery>[0] & Parameters<typeof CommandRecognizer.load>[0]): Promise<Gallery> {
  try {
    return await openGallery(values);
  } catch (error) {
    if (!(error instanceof FaissVisionError) || error.code !== 'ERR_GALLERY_NOT_FOUND') throw error;
  }
  const recognizer = await CommandRecognizer.load(values);
  try {
    return await openGallery(values, { recognizer: recognizer.library });
  } finally {
    await recognizer.close();
  }
}

function theFile(positionals: readonly string[]): string {
  if (positionals.length !== 1) throw new UsageError(`expected one FILE, got ${positionals.length}`);
  return positionals[0]!;
}

async function withBar(io: Io, work: (onProgress: (done: number, total: number) => void) => Promise<Transferred>): Promise<Transferred> {
  const bar = progressBar(io, 'people', 0);
  try {
    return await work((done, total) => bar.update(done, total));
  } finally {
    bar.stop();
  }
}
