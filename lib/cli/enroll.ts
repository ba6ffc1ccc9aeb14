import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { FaissVisionError } from '../error';
import { type Enrollment, FaceQualityError, type Metadata } from '../gallery';
import { REFUSALS } from '../gallery/gallery';
import { type Command, UsageError, exitCode, isTold, parse } from './command';
import { galleryOptions, galleryUsage, openGallery } from './gallery';
import { expandPhotos, lookAtPhotos } from './photos';
import { CommandRecognizer, recognizerOptions, recognizerUsage } from './recognizer';
import { count, table } from './table';

// ERR_ID_TAKEN: the photo is somebody else's already.
const isRefused = ({ code }: { code: string }) => REFUSALS.has(code) || code === 'ERR_ID_TAKEN';

export const enroll: Command = {
  name: 'enroll',
  summary: 'add photos of a person to the gallery',
  usage: `faiss-vision enroll NAME PHOTO... [--largest] [--metadata JSON] [--json] [options]

  --largest             of a photo with several faces the largest; otherwise such a photo is refused
  --any-quality         takes faces that are small, blurred, tilted or turned away as well
  --metadata JSON       what is known of the person besides, as a JSON object, in place of what was
  --thumbnails          keeps a small picture of each face, from which another model can embed it anew
  --json                one JSON object on standard output: the person, and what became of each photo
${galleryUsage}
${recognizerUsage}

A PHOTO may be a folder. The same photo is enrolled once, however often the command is repeated.
Exit code 0 where every photo was enrolled, 1 where one was refused, 3 where one could not be read.`,

  async run(args, io) {
    const { values, positionals } = parse(args, {
      ...galleryOptions,
      ...recognizerOptions,
      largest: { type: 'boolean', default: false },
      'any-quality': { type: 'boolean', default: false },
      metadata: { type: 'string' },
      thumbnails: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    });
    const [name, ...given] = positionals;
    if (name === undefined) throw new UsageError('a name is missing');
    const photos = await expandPhotos(given);
    const metadata = values.metadata === undefined ? undefined : metadataOf(values.metadata);
    const recognizer = await CommandRecognizer.load(values);
    const gallery = await openGallery(values, {
      recognizer: recognizer.library,
      thumbnails: values.thumbnails,
      ...(values['any-quality'] && { quality: false }),
    });
    try {
      const before = await gallery.person(name);
      const outcomes = await lookAtPhotos(photos, io, async (photo): Promise<Enrollment> => {
        const bytes = await readFile(photo).catch(() => undefined);
        // What cannot be read is told by the library, in its own words.
        const faceIds = bytes && [createHash('sha256').update(bytes).digest('hex')];
        try {
          return await gallery.enroll(name, bytes ?? photo, {
            faces: values.largest ? 'largest' : 'one',
            ...(metadata && { metadata }),
            ...(faceIds && { faceIds }),
          });
        } catch (error) {
          if (!isTold(error)) throw error;
          throw named(photo, error);
        }
      });
      if (metadata !== undefined && before !== undefined) await gallery.setMetadata(name, metadata);
      const person = await gallery.person(name);

      const result = ({ value, error }: (typeof outcomes)[number]) =>
        error ? (isRefused(error) ? 'refused' : 'failed') : value.added > 0 ? 'enrolled' : 'was enrolled before';
      if (values.json) {
        const told = outcomes.map((outcome) => {
          const { photo, value, error } = outcome;
          return { photo, result: result(outcome), ...(error ? { error } : { face: value.faces[0] }) };
        });
        io.stdout.write(`${JSON.stringify({ person: person ?? null, photos: told })}\n`);
      } else {
        io.stdout.write(table(['Photo', 'Result'], outcomes.map((outcome) => [outcome.photo, result(outcome)])));
        io.stdout.write(person ? `  ${person.name} has ${count(person.faces, 'face')}\n` : `  nobody was enrolled\n`);
      }
      const results = outcomes.map(result);
      if (results.includes('failed')) return exitCode.failed;
      return results.includes('refused') ? exitCode.no : exitCode.yes;
    } finally {
      await gallery.close();
      await recognizer.close();
    }
  },
};

function metadataOf(text: string): Metadata {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`--metadata must be JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new UsageError(`--metadata must be a JSON object, got ${text}`);
  return value as Metadata;
}

/** The same error in the command line's words: the photo's name in place of the argument's. */
function named(photo: string, error: Error & { code: string }): Error {
  if (!error.message.startsWith('image: ')) return error;
  const message = `"${photo}": ${error.message.slice('image: '.length).replace("`faces: 'largest'`", '--largest')}`;
  if (error instanceof FaceQualityError) return new FaceQualityError(error.reason, message, error.measured);
  return new FaissVisionError(error.code, message, { cause: error });
}
