import { compareFeatures, isSame } from '../face/evaluation';
import { type Command, UsageError, complain, exitCode, numberOf, parse } from './command';
import { lookAtPhotos } from './photos';
import { CommandRecognizer, boxText, faceJson, recognizerOptions, recognizerUsage } from './recognizer';
import { table } from './table';

export const verify: Command = {
  name: 'verify',
  summary: 'tell whether two photos show the same person',
  usage: `faiss-vision verify A B [--threshold X] [--json] [options]

  --threshold X         another threshold than the model's own, in its metric
  --json                one JSON object on standard output
${recognizerUsage}

Compares the largest face of each photo. Exit code 0 for the same person, 1 for another one or where a photo
has no face, 3 where a photo could not be read.`,

  async run(args, io) {
    const { values, positionals } = parse(args, {
      ...recognizerOptions,
      threshold: { type: 'string' },
      json: { type: 'boolean', default: false },
    });
    if (positionals.length !== 2) throw new UsageError(`verify compares two photos, got ${positionals.length}`);
    const given = numberOf('threshold', values.threshold);
    const recognizer = await CommandRecognizer.load(values, 1);
    const outcomes = await lookAtPhotos(positionals, io, async (photo) => (await recognizer.faces(photo))[0] ?? null);
    await recognizer.close();

    const { model, metric } = recognizer;
    const threshold = given ?? recognizer.threshold;
    const [a, b] = outcomes.map(({ value }) => value);
    const distance = a && b ? compareFeatures(a.features, b.features, 'l2') : null;
    const cosine = a && b ? compareFeatures(a.features, b.features, 'cosine') : null;
    const score = metric === 'l2' ? distance : cosine;
    const same = score !== null && isSame(score, threshold, metric);

    if (values.json) {
      const photos = outcomes.map(({ photo, value, error }) => (error ? { photo, error } : { photo, face: value && faceJson(value, false) }));
      io.stdout.write(`${JSON.stringify({ same, distance, cosine, metric, threshold, model, photos })}\n`);
    }
    if (outcomes.some(({ error }) => error)) return exitCode.failed;
    for (const { photo, value } of outcomes) if (!value) complain(io, { code: 'ERR_NO_FACE', message: `no face was found in "${photo}"` });
    if (!values.json && a && b) {
      const rows = outcomes.map(({ photo, value }) => [photo, boxText(value!.box), value!.score.toFixed(4)]);
      const rounded = Number(threshold.toFixed(4));
      const rule = metric === 'l2' ? `a distance below ${rounded}` : `a cosine similarity above ${rounded}`;
      io.stdout.write(table(['Photo', 'Largest face', '>Score'], rows));
      io.stdout.write(`  distance ${distance!.toFixed(4)}, cosine similarity ${cosine!.toFixed(4)}\n`);
      io.stdout.write(`  ${same ? 'the same person' : 'not the same person'} (${model}: the same is ${rule})\n`);
    }
    return same ? exitCode.yes : exitCode.no;
  },
};
