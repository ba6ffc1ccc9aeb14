import type { DrawnFace } from '../image';
import type { Identification } from '../gallery';
import { type Command, UsageError, exitCode, numberOf, parse } from './command';
import { filterOf, galleryOptions, galleryUsage, matchJson, openGallery, scoreName, whereOptions, whereUsage } from './gallery';
import { expandPhotos, lookAtPhotos } from './photos';
import { drawPicture, drawUsage, picturePaths } from './pictures';
import { CommandRecognizer, boxText, choiceOptions, choiceUsage, maxFacesOf, recognizerOptions, recognizerUsage } from './recognizer';
import { table } from './table';

const KNOWN = '#7ee081';
const UNKNOWN = '#f2b544';

export const identify: Command = {
  name: 'identify',
  summary: 'tell who of the gallery is in photos',
  usage: `faiss-vision identify PHOTO... [--top N] [--threshold X] [--json] [--draw OUT.png] [options]

  --top N               the N nearest people of each face, near enough or not (default 1)
  --threshold X         another threshold than the model's own, in its metric
  --json                one JSON array on standard output: a photo's faces with who they are and the nearest people
${drawUsage}
${whereUsage}
${choiceUsage}
${galleryUsage}
${recognizerUsage}

A PHOTO may be a folder. Exit code 0 where somebody was found, 1 where nobody was, 3 where a photo could not be read.`,

  async run(args, io) {
    const { values, positionals } = parse(args, {
      ...galleryOptions,
      ...whereOptions,
      ...recognizerOptions,
      ...choiceOptions,
      top: { type: 'string' },
      threshold: { type: 'string' },
      json: { type: 'boolean', default: false },
      draw: { type: 'string' },
    });
    const maxFaces = maxFacesOf(values);
    const top = numberOf('top', values.top, { from: 1, whole: true }) ?? 1;
    if (top > 100) throw new UsageError(`--top must be at most 100, got ${top}`);
    const threshold = numberOf('threshold', values.threshold);
    const filter = filterOf(values.where);
    const photos = await expandPhotos(positionals);
    const pictures = values.draw === undefined ? undefined : picturePaths(photos, values.draw);
    const recognizer = await CommandRecognizer.load(values);
    const gallery = await openGallery(values, { recognizer: recognizer.library, readOnly: true });
    try {
      const outcomes = await lookAtPhotos(photos, io, async (photo) => {
        const faces = await gallery.identify(photo, {
          top,
          ...(threshold !== undefined && { threshold }),
          ...(filter && { filter }),
          ...(maxFaces !== undefined && { maxFaces }),
        });
        const picture = pictures?.get(photo);
        if (picture !== undefined) await drawPicture(photo, faces.map(drawn), picture);
        return { faces, picture };
      });

      if (values.json) {
        const answers = outcomes.map(({ photo, value, error }) =>
          error ? { photo, error } : { photo, faces: value.faces.map(identificationJson), ...(value.picture && { picture: value.picture }) },
        );
        io.stdout.write(`${JSON.stringify(answers)}\n`);
      } else {
        const rows = outcomes.flatMap(({ photo, value }) => {
          if (!value) return [];
          if (value.faces.length === 0) return [[photo, 'no face', '', '', '']];
          return value.faces.flatMap((face, i) => rowsOf(photo, face, `${i + 1} of ${value.faces.length}`));
        });
        if (rows.length > 0) io.stdout.write(table(['Photo', 'Face', 'Who', scoreName(gallery), 'Box'], rows));
        for (const { value } of outcomes) if (value?.picture) io.stdout.write(`  drew ${value.picture}\n`);
      }
      if (outcomes.some(({ error }) => error)) return exitCode.failed;
      return outcomes.some(({ value }) => value?.faces.some(({ found }) => found)) ? exitCode.yes : exitCode.no;
    } finally {
      await gallery.close();
      await recognizer.close();
    }
  },
};

/** A face's first line says who it is; further ones, with `--top`, who comes next. */
function rowsOf(photo: string, { found, person, matches, box }: Identification, face: string): string[][] {
  const [first, ...others] = matches;
  const who = found ? person!.name : first ? `unknown (nearest: ${first.person.name})` : 'unknown';
  return [
    [photo, face, who, first?.score.toFixed(4) ?? '-', boxText(box)],
    ...others.map((match) => ['', '', `  then ${match.person.name}`, match.score.toFixed(4), '']),
  ];
}

function drawn({ box, landmarks, found, person, matches }: Identification): DrawnFace {
  const score = matches[0]?.score.toFixed(3);
  const who = found ? person!.name : 'unknown';
  return { box, landmarks, label: score === undefined ? who : `${who}\n${score}`, color: found ? KNOWN : UNKNOWN };
}

function identificationJson({ box, score, landmarks, found, person, matches }: Identification) {
  return { box, score, landmarks, found, person: person ? { id: person.id, name: person.name, metadata: person.metadata } : null, matches: matches.map(matchJson) };
}
