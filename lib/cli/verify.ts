import { existsSync } from 'node:fs';
import { FaissVisionError } from '../error';
import { compareFeatures, isSame } from '../face/evaluation';
import type { Metric } from '../face/evaluation';
import { type Command, type Io, UsageError, complain, exitCode, numberOf, parse } from './command';
import { galleryOptions, galleryUsage, hasDefaultGallery, openGallery } from './gallery';
import { lookAtPhotos } from './photos';
import { CommandRecognizer, boxText, faceJson, recognizerOptions, recognizerUsage } from './recognizer';
import { table } from './table';

export const verify: Command = {
  name: 'verify',
  summary: 'tell whether two photos, or a name and a photo, are the same person',
  usage: `faiss-vision verify PHOTO PHOTO [--threshold X] [--json] [options]
       faiss-vision verify NAME PHOTO [--threshold X] [--json] [options]

  --threshold X         another threshold than the model's own, in its metric
  --json                one JSON object on standard output
${galleryUsage}
${recognizerUsage}

Compares the largest faces of two photos, or that of one with the faces of a person of the gallery. The first word is
a person's name where no file has it, and always with --db. Exit code 0 for the same person, 1 for another one or
where a photo has no face, 3 where a photo could not be read or nobody has the name.`,

  async run(args, io) {
    const { values, positionals } = parse(args, {
      ...galleryOptions,
      ...recognizerOptions,
      threshold: { type: 'string' },
      json: { type: 'boolean', default: false },
    });
    if (positionals.length !== 2) throw new UsageError(`verify takes a name and a photo, or two photos, got ${positionals.length}`);
    const given = numberOf('threshold', values.threshold);
    const recognizer = await CommandRecognizer.load(values, 1);
    const [first, second] = positionals as [string, string];
    if (values.db !== undefined || (!existsSync(first) && hasDefaultGallery())) return verifyPerson(first, second, recognizer, given, values, io);
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
      io.stdout.write(table(['Photo', 'Largest face', '>Score'], rows));
      io.stdout.write(`  distance ${distance!.toFixed(4)}, cosine similarity ${cosine!.toFixed(4)}\n`);
      io.stdout.write(`  ${same ? 'the same person' : 'not the same person'} (${model}: the same is ${ruleOf(metric, threshold)})\n`);
    }
    return same ? exitCode.yes : exitCode.no;
  },
};

function ruleOf(metric: Metric, threshold: number): string {
  const rounded = Number(threshold.toFixed(4));
  return metric === 'l2' ? `a distance below ${rounded}` : `a cosine similarity above ${rounded}`;
}

type Values = Parameters<typeof openGallery>[0] & { json: boolean };

async function verifyPerson(name: string, photo: string, recognizer: CommandRecognizer, given: number | undefined, values: Values, io: Io): Promise<number> {
  const gallery = await openGallery(values, { recognizer: recognizer.library, readOnly: true });
  try {
    const [outcome] = await lookAtPhotos([photo], io, async () => {
      const known = await gallery.person(name);
      if (!known) throw new FaissVisionError('ERR_PERSON_UNKNOWN', `nobody is named ${JSON.stringify(name)}${values.db === undefined ? ', and no file has that name' : ''}`);
      return gallery.verify({ id: known.id }, photo, given === undefined ? {} : { threshold: given });
    });
    const { value, error } = outcome!;
    const { metric } = gallery.mark;
    if (values.json) {
      const answer = error ? { same: false, error } : { ...value, person: { id: value.person.id, name: value.person.name }, score: value.score ?? null };
      io.stdout.write(`${JSON.stringify({ ...answer, metric, model: gallery.mark.model, photo })}\n`);
    }
    if (error) return error.code === 'ERR_NO_FACE' ? exitCode.no : exitCode.failed;
    const { same, person, score, threshold } = value;
    if (!values.json) {
      const near = score === undefined ? 'has no faces' : `${metric === 'l2' ? 'distance' : 'cosine similarity'} ${score.toFixed(4)} to their nearest face`;
      io.stdout.write(`  ${person.name}: ${near}\n  ${same ? 'the same person' : 'not the same person'} (${gallery.mark.model}: the same is ${ruleOf(metric, threshold)})\n`);
    }
    return same ? exitCode.yes : exitCode.no;
  } finally {
    await gallery.close();
    await recognizer.close();
  }
}
