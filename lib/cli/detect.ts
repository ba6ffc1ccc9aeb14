import { type Command, exitCode, parse } from './command';
import { expandPhotos, lookAtPhotos } from './photos';
import { drawPicture, drawUsage, picturePaths } from './pictures';
import { CommandRecognizer, boxText, choiceOptions, choiceUsage, faceJson, maxFacesOf, recognizerOptions, recognizerUsage } from './recognizer';
import { printable, table } from './table';

export const detect: Command = {
  name: 'detect',
  summary: 'find the faces in photos, and draw them',
  usage: `faiss-vision detect PHOTO... [--json] [--draw OUT.png] [options]

  --json                one JSON array on standard output: a photo's faces with box, score and landmarks
${drawUsage}
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
        await drawPicture(photo, faces.map(({ box, landmarks, score }) => ({ box, landmarks, label: score.toFixed(3) })), picture);
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
      for (const { value } of outcomes) if (value?.picture) io.stdout.write(`  drew ${printable(value.picture)}\n`);
    }
    if (outcomes.some(({ error }) => error)) return exitCode.failed;
    return outcomes.some(({ value }) => value && value.faces.length > 0) ? exitCode.yes : exitCode.no;
  },
};
