import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { modelPath, modelsFolder } from '../models/cache';
import { ensureModels } from '../models/install';
import { RELEASED_WEIGHTS, type ReleasedWeights, releasedPath, releasedUrl } from '../models/released';
import { type WeightsProgress, fetchWeights } from '../models/weights';
import { type Command, type Io, UsageError, exitCode, parse } from './command';
import { type ProgressBar, progressBar } from './progress';
import { size, table } from './table';

/** The models that set-up makes, from packages. */
const packaged = [
  { name: 'mtcnn', about: 'the detector' },
  { name: 'resnet128', about: '99.38 % on LFW as published' },
] as const;

const names = [...packaged, ...RELEASED_WEIGHTS].map(({ name }) => name);

export const models: Command = {
  name: 'models',
  summary: 'list the models, or fetch one',
  usage: `faiss-vision models [--json]
       faiss-vision models fetch NAME [--from FILE]

  --json                one JSON array on standard output
  --from FILE           a published file that is already here, in place of the download

Lists the models, where their files lie and whether they are there; or fetches NAME and converts it:
${names.join(', ')}.
FAISS_VISION_MODELS names another folder, FAISS_VISION_WEIGHTS_URL a mirror of facenet-pytorch's release page.
Exit code 0, or 3 where a model could not be fetched.`,

  async run(args, io) {
    const { values, positionals } = parse(args, { json: { type: 'boolean', default: false }, from: { type: 'string' } });
    const [what, name, ...more] = positionals;
    if (what === undefined) {
      if (values.from !== undefined) throw new UsageError('--from belongs to models fetch NAME');
      await list(io, values.json);
      return exitCode.yes;
    }
    if (what !== 'fetch' || name === undefined || more.length > 0) throw new UsageError('expected models, or models fetch NAME');
    if (!names.includes(name)) throw new UsageError(`there is no model ${JSON.stringify(name)}; models are ${names.join(', ')}`);
    const weights = RELEASED_WEIGHTS.find((each) => each.name === name);
    if (weights) {
      await fetchReleased(weights, values.from, io);
    } else {
      if (values.from !== undefined) {
        throw new UsageError(`${name} comes from a package; --from is for ${RELEASED_WEIGHTS.map((each) => each.name).join(' and ')}`);
      }
      await ensureModels({ onProgress: ({ step, file }) => io.stderr.write(`  ${step} ${file}\n`) });
      io.stdout.write(`  ${name} is at ${modelPath(name as (typeof packaged)[number]['name'])}\n`);
    }
    return exitCode.yes;
  },
};

async function list(io: Io, json: boolean): Promise<void> {
  const known = [
    ...packaged.map(({ name, about }) => ({ name, about, file: modelPath(name), source: 'the package @faiss-vision/models, or made by the set-up' })),
    ...RELEASED_WEIGHTS.map((weights) => ({ name: weights.name, about: weights.about, file: releasedPath(weights), source: releasedUrl(weights) })),
  ];
  const found = await Promise.all(
    known.map(async (model) => ({ ...model, bytes: await stat(model.file).then((it) => it.size, () => null) })),
  );
  if (json) {
    io.stdout.write(`${JSON.stringify(found)}\n`);
    return;
  }
  const rows = found.map(({ name, file, bytes, about }) => [name, bytes === null ? 'not there' : size(bytes), file, about]);
  io.stdout.write(table(['Model', '>Size', 'File', 'About'], rows));
}

async function fetchReleased(weights: ReleasedWeights, from: string | undefined, io: Io): Promise<void> {
  let bar: ProgressBar | undefined;
  let announced = false;
  const stop = () => {
    bar?.stop();
    bar = undefined;
  };
  const onProgress = ({ step, file, done = 0, total, reason }: WeightsProgress) => {
    if (step === 'download') {
      if (!announced) io.stderr.write(`  downloading ${file}${total === undefined ? '' : ` (${size(total)})`}\n`);
      announced = true;
      // Without a length there is nothing to draw a bar against.
      if (total !== undefined) (bar ??= progressBar(io, 'download', total, size)).update(done, total);
      return;
    }
    stop();
    if (step === 'wait') io.stderr.write(`  waiting: another process is at work in ${file}\n`);
    else if (step === 'retry') io.stderr.write(`  try ${done} of ${total} failed: ${reason}\n`);
    else io.stderr.write(`  converting ${file}\n`);
  };
  try {
    const output = await fetchWeights(weights, { from, onProgress });
    io.stdout.write(`  ${weights.name} is at ${output}\n`);
    if (from === undefined) {
      io.stdout.write(`  No checksum is published: size and SHA-256 are recorded in ${join(modelsFolder(), weights.file)}.json\n`);
    }
  } finally {
    stop();
  }
}
