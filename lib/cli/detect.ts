import { existsSync, statSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { drawFaces } from '../image';
import { type Command, UsageError, exitCode, parse } from './command';
import { expandPhotos, lookAtPhotos } from './photos';
import { CommandRecognizer, boxText, choiceOptions, choiceUsage, faceJson, maxFacesOf, recognizerOptions, recognizerUsage } from './recognizer';
import { table } from './table';

export const detect: Command = {
  name: 'detect',
  summary: 'find the faces in photos, and draw them',
  usage: `faiss-vision detect PHOTO... [--json] [--draw OUT.png] [options]

  --json                one JSON array on standard output: a photo's faces with box, score and landmarks
  --draw OUT            the photo with boxes and landmarks, as PNG; for several photos OUT is a folder
                        or holds {name}, for which each photo's name is put
${choiceUsage}
${recognizerUsage}

Exit code 0 where a face was found, 1 where none was, 3 where a photo could not be read.`,

  async run(args, io) {
    const { values, positionals } = parse(args, {
      ...recognizerOptions,
      ...choiceOptions,
      json: { type: 'boolean', default: false },
      draw: { type: 'string' },
    });
    const maxFaces = maxFacesOf(values);
    const photos = await expandPhotos(positionals);
    const pictures = values.draw === undefined ? undefined : picturePaths(photos, values.draw);
    const recognizer = await CommandRecognizer.load(values, maxFaces);
    const outcomes = await lookAtPhotos(photos, io, async (photo) => {
      const faces = await recognizer.faces(photo);
      const picture = pictures?.get(photo);
      if (picture !== undefined) {
        const drawn = await drawFaces(photo, faces.map(({ box, landmarks, score }) => ({ box, landmarks, label: score.toFixed(3) })));
        await mkdir(dirname(picture), { recursive: true });
        await writeFile(picture, drawn);
      }
      return { faces, picture };
    });
    await recognizer.close();

    if (values.json) {
      const answers = outcomes.map(({ photo, value, error }) =>
        error
          ? { photo, error }
          : { photo, faces: value.faces.map((face) => faceJson(face, false)), ...(value.picture && { picture: value.picture }) },
      );
      io.stdout.write(`${JSON.stringify(answers)}\n`);
    } else {
      const rows = outcomes.flatMap(({ photo, value }) => {
        if (!value) return [];
        if (value.faces.length === 0) return [[photo, 'none', '', '']];
        return value.faces.map(({ box, score }, i) => [photo, `${i + 1} of ${value.faces.length}`, boxText(box), score.toFixed(4)]);
      });
      if (rows.length > 0) io.stdout.write(table(['Photo', 'Face', 'Box', '>Score'], rows));
      for (const { value } of outcomes) if (value?.picture) io.stdout.write(`  drew ${value.picture}\n`);
    }
    if (outcomes.some(({ error }) => error)) return exitCode.failed;
    return outcomes.some(({ value }) => value && value.faces.length > 0) ? exitCode.yes : exitCode.no;
  },
};

/** Where each photo's picture goes; every one to a place of its own, and none over a photo. */
function picturePaths(photos: readonly string[], out: string): Map<string, string> {
  const isFolder = out.endsWith('/') || (existsSync(out) && statSync(out).isDirectory()) || (photos.length > 1 && !/\.[a-z]+$/i.test(basename(out)));
  if (photos.length > 1 && !isFolder && !out.includes('{name}')) {
    throw new UsageError(`--draw ${out} is one file for ${photos.length} photos; give a folder, or put {name} into it`);
  }
  const template = isFolder ? join(out, '{name}.png') : out;
  const taken = new Map(photos.map((photo) => [resolve(photo), photo]));
  return new Map(
    photos.map((photo) => {
      const picture = template.replaceAll('{name}', () => basename(photo, extname(photo)));
      const other = taken.get(resolve(picture));
      if (other !== undefined) throw new UsageError(`--draw would write ${picture} for ${photo} over that of ${other}`);
      taken.set(resolve(picture), photo);
      return [photo, picture];
    }),
  );
}
