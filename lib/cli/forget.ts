import { type Command, UsageError, complain, exitCode, isTold, parse } from './command';
import { galleryOptions, galleryUsage, openGallery } from './gallery';
import { count } from './table';

export const forget: Command = {
  name: 'forget',
  summary: 'remove people and their faces from the gallery',
  usage: `faiss-vision forget NAME... [--json] [options]

  --json                one JSON array on standard output: each name with how many faces there were
${galleryUsage}

When it has ended, no file of the gallery has anything of them. Exports that were made before are not its files.
Exit code 0, or 1 where nobody has one of the names; the others are forgotten all the same.`,

  async run(args, io) {
    const { values, positionals: names } = parse(args, { ...galleryOptions, json: { type: 'boolean', default: false } });
    if (names.length === 0) throw new UsageError('a name is missing');
    const gallery = await openGallery(values);
    try {
      const forgotten: { name: string; faces: number | null }[] = [];
      for (const name of names) {
        try {
          forgotten.push({ name, faces: await gallery.remove(name) });
        } catch (error) {
          if (!isTold(error) || error.code !== 'ERR_PERSON_UNKNOWN') throw error;
          complain(io, error);
          forgotten.push({ name, faces: null });
        }
      }
      if (values.json) io.stdout.write(`${JSON.stringify(forgotten)}\n`);
      else for (const { name, faces } of forgotten) if (faces !== null) io.stdout.write(`  forgot ${name} and ${count(faces, 'face')}\n`);
      return forgotten.some(({ faces }) => faces === null) ? exitCode.no : exitCode.yes;
    } finally {
      await gallery.close();
    }
  },
};
