import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Command, UsageError, exitCode, parse } from './command';
import { encodeNpy } from './npy';
import { expandPhotos, lookAtPhotos } from './photos';
import { CommandRecognizer, boxText, choiceOptions, choiceUsage, faceJson, maxFacesOf, recognizerOptions, recognizerUsage } from './recognizer';
import { count, printable, table } from './table';

export const embed: Command = {
  name: 'embed',
  summary: 'turn the faces in photos into features',
  usage: `faiss-vision embed PHOTO... [--json] [--out FILE.npy|FILE.json] [options]

  --json                one JSON array on standard output: a photo's faces with box, score, landmarks,
                        features and their row
  --out FILE            the features in a file: .npy (NumPy, float32, one row for each face) or .json (as --json)
${choiceUsage}
${recognizerUsage}

Rows are counted from 0 over all photos, in their order; a photo's faces come largest first.
Exit code 0 where a face was found, 1 where none was, 3 where a photo could not be read.`,

  async run(args, io) {
    const { values, positionals } = parse(args, {
      ...recognizerOptions,
      ...choiceOptions,
      json: { type: 'boolean', default: false },
      out: { type: 'string' },
    });
    const { out } = values;
    if (out !== undefined && !/\.(npy|json)$/.test(out)) throw new UsageError(`--out must end in .npy or .json, got ${JSON.stringify(out)}`);
    const maxFaces = maxFacesOf(values);
    const photos = await expandPhotos(positionals);
    if (out !== undefined) await mkdir(dirname(out), { recursive: true }); // before the work, not after it
    const recognizer = await CommandRecognizer.load(values, maxFaces);
    const outcomes = await lookAtPhotos(photos, io, (photo) => recognizer.faces(photo));
    await recognizer.close();

    let row = 0;
    const answers = outcomes.map(({ photo, value, error }) =>
      error ? { photo, error } : { photo, faces: value.map((face) => ({ row: row++, ...faceJson(face, true) })) },
    );
    const faces = outcomes.flatMap(({ photo, value }) => (value ?? []).map((face) => ({ photo, ...face })));
    if (values.json) io.stdout.write(`${JSON.stringify(answers)}\n`);
    else if (faces.length > 0) {
      const rows = faces.map(({ photo, box, score, features }, i) => [
        String(i),
        photo,
        boxText(box),
        score.toFixed(4),
        `${Array.from(features.subarray(0, 4), (value) => value.toFixed(4)).join(' ')} ...`,
      ]);
      io.stdout.write(table(['>Row', 'Photo', 'Box', '>Score', `${recognizer.dimension} features`], rows));
    }
    if (out !== undefined) {
      const features = faces.map((face) => face.features);
      await writeFile(out, out.endsWith('.npy') ? encodeNpy(features, recognizer.dimension) : `${JSON.stringify(answers)}\n`);
      if (!values.json) io.stdout.write(`  wrote ${printable(out)} (${count(faces.length, 'face')})\n`);
    }
    if (outcomes.some(({ error }) => error)) return exitCode.failed;
    return faces.length > 0 ? exitCode.yes : exitCode.no;
  },
};
