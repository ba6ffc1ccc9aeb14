import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type Comparison,
  bestThreshold,
  compareFeatures,
  countCorrect,
  crossValidate,
  isSame,
  mean,
  pointAt,
  rocArea,
  rocCurve,
} from '../face/evaluation';
import { type PhotoPair, parsePairs } from '../face/pairs';
import { type Command, type Io, UsageError, complain, exitCode, parse } from './command';
import { lookAtPhotos } from './photos';
import { CommandRecognizer, recognizerOptions, recognizerUsage } from './recognizer';
import { plotRoc } from './roc-plot';
import { count, printable, table } from './table';

const FALSE_ACCEPTS = [0, 1e-4, 1e-3, 1e-2, 1e-1];

export const evaluate: Command = {
  name: 'evaluate',
  summary: 'measure accuracy on a list of pairs',
  usage: `faiss-vision evaluate PAIRS.txt [--photos FOLDER] [--json] [--plot ROC.png] [options]

  --photos FOLDER       where the photos lie, as name/name_0001.jpg (default: beside PAIRS.txt)
  --json                one JSON object on standard output
  --plot FILE           the ROC curve as PNG
${recognizerUsage}

PAIRS.txt has the format of Labeled Faces in the Wild. The largest face of each photo counts. Pairs with a photo that is
missing, cannot be read or has no face are left out of the figures, counted and named.
Exit code 0, or 3 where a photo is missing or cannot be read.`,

  async run(args, io) {
    const { values, positionals } = parse(args, {
      ...recognizerOptions,
      photos: { type: 'string' },
      json: { type: 'boolean', default: false },
      plot: { type: 'string' },
    });
    const [list] = positionals;
    if (list === undefined || positionals.length !== 1) throw new UsageError(`evaluate takes one list of pairs, got ${positionals.length}`);
    const folds = parsePairs(await readFile(list, 'utf8'), list);
    if (values.plot !== undefined) await mkdir(dirname(values.plot), { recursive: true }); // before the work, not after it
    const recognizer = await CommandRecognizer.load(values, 1);
    const photos = await features(folds.flat(), values.photos ?? dirname(list), recognizer, io);
    await recognizer.close();

    const { metric, model, threshold } = recognizer;
    const path = (photo: string) => join(photos.folder, photo);
    for (const photo of photos.leftOut.missing) complain(io, { code: 'ERR_IMAGE_NOT_FOUND', message: `"${path(photo)}" is not there` });
    for (const photo of photos.leftOut.withoutFace) complain(io, { code: 'ERR_NO_FACE', message: `no face was found in "${path(photo)}"` });
    const compared = folds.map((pairs) => compare(pairs, photos.features, recognizer));
    const result = { model, metric, ...figures(folds, compared, recognizer), leftOut: photos.leftOut };
    io.stdout.write(values.json ? `${JSON.stringify(result)}\n` : report(result));
    if (values.plot !== undefined) {
      const title = `${model}: ${count(result.pairs.compared, 'pair')}`;
      const subtitle = result.accuracy === null ? '' : `accuracy ${result.accuracy.toFixed(4)}`;
      const point = sharesAt(compared.flat(), threshold, metric);
      const marked = { point, label: `the model's threshold, ${Number(threshold.toFixed(4))}` };
      await writeFile(values.plot, await plotRoc(result.roc, { title, subtitle, different: result.pairs.different, marked }));
      if (!values.json) io.stdout.write(`  drew ${printable(values.plot)}\n`);
    }
    return photos.leftOut.missing.length + photos.leftOut.unreadable.length > 0 ? exitCode.failed : exitCode.yes;
  },
};

interface LeftOut {
  /** Photos that are not there. */
  missing: string[];
  /** Photos that are there and no whole picture. */
  unreadable: string[];
  /** Photos in which the detector finds no face. */
  withoutFace: string[];
}

/** The features of every photo of the pairs, each looked at once, under its name in the pairs. */
async function features(pairs: readonly PhotoPair[], folder: string, recognizer: CommandRecognizer, io: Io) {
  const names = [...new Set(pairs.flatMap(({ a, b }) => [a, b]))].sort();
  const leftOut: LeftOut = { missing: [], unreadable: [], withoutFace: [] };
  const there = names.filter((name) => existsSync(join(folder, name)) || !leftOut.missing.push(name));
  const outcomes = await lookAtPhotos(
    there.map((name) => join(folder, name)),
    io,
    async (photo) => (await recognizer.faces(photo))[0]?.features,
  );
  const features = new Map<string, Float32Array>();
  for (const [i, { value, error }] of outcomes.entries()) {
    if (value) features.set(there[i]!, value);
    else leftOut[error ? 'unreadable' : 'withoutFace'].push(there[i]!);
  }
  return { folder, features, leftOut };
}

function compare(pairs: readonly PhotoPair[], features: ReadonlyMap<string, Float32Array>, { metric }: CommandRecognizer): Comparison[] {
  return pairs.flatMap(({ a, b, same }) => {
    const [first, second] = [features.get(a), features.get(b)];
    return first && second ? [{ score: compareFeatures(first, second, metric), same }] : [];
  });
}

function figures(folds: readonly PhotoPair[][], compared: readonly Comparison[][], { metric, threshold }: CommandRecognizer) {
  const all = compared.flat();
  const roc = rocCurve(all, metric);
  // A fold of which nothing could be compared has no accuracy; with one fold there are no others to take a threshold from.
  const whole = compared.map((comparisons, i) => ({ comparisons, pairs: folds[i]!.length })).filter(({ comparisons }) => comparisons.length > 0);
  const validated = whole.length < 2 ? undefined : crossValidate(whole.map(({ comparisons }) => comparisons), metric);
  const correctIn = (fold: number) => validated?.folds[whole.findIndex((each) => each.comparisons === compared[fold])]?.correct ?? 0;
  const total = folds.reduce((sum, pairs) => sum + pairs.length, 0);
  const different = all.filter(({ same }) => !same).length;
  return {
    pairs: { total, compared: all.length, same: all.length - different, different },
    /** Null where cross-validation is not possible. */
    accuracy: validated?.accuracy ?? null,
    standardError: validated?.standardError ?? null,
    /** The same with every pair that was left out counted as wrong. */
    accuracyOfAll: validated ? mean(folds.map((pairs, i) => correctIn(i) / pairs.length)) : null,
    folds: validated?.folds ?? [],
    best: bestThreshold(all, metric),
    own: { threshold, accuracy: countCorrect(all, threshold, metric) / all.length },
    rocArea: rocArea(roc),
    trueAcceptAt: FALSE_ACCEPTS.map((limit) => ({ limit, ...pointAt(roc, limit) })),
    roc,
  };
}

/** What a threshold accepts of both kinds. */
function sharesAt(comparisons: readonly Comparison[], threshold: number, metric: CommandRecognizer['metric']) {
  const share = (kind: boolean) => {
    const pairs = comparisons.filter(({ same }) => same === kind);
    return pairs.filter(({ score }) => isSame(score, threshold, metric)).length / pairs.length;
  };
  return { falseAccept: share(false), trueAccept: share(true) };
}

function report(result: ReturnType<typeof figures> & { model: string; metric: CommandRecognizer['metric']; leftOut: LeftOut }): string {
  const { pairs, accuracy, standardError, accuracyOfAll, folds, best, own, leftOut } = result;
  const measure = result.metric === 'l2' ? 'Euclidean distance' : 'cosine similarity';
  const lines = [['Model', `${result.model}, by ${measure}`]];
  lines.push(['Pairs', `${pairs.compared} of ${pairs.total} compared: ${pairs.same} of one person, ${pairs.different} of two`]);
  if (accuracy === null || standardError === null || accuracyOfAll === null) {
    lines.push(['Accuracy', 'none: cross-validation needs two folds with pairs']);
  } else {
    const over = `cross-validation over ${count(folds.length, 'fold')}, mean and its standard error`;
    lines.push(['Accuracy', `${accuracy.toFixed(4)} ± ${standardError.toFixed(4)} (${over})`]);
    if (pairs.compared < pairs.total) lines.push(['', `${accuracyOfAll.toFixed(4)} with the pairs that were left out counted as wrong`]);
  }
  lines.push(['Best threshold', `${best.threshold.toFixed(4)}: ${best.accuracy.toFixed(4)} right, on the pairs that it was chosen on`]);
  lines.push(["Model's threshold", `${own.threshold.toFixed(4)}: ${own.accuracy.toFixed(4)} right`]);
  lines.push(['Area under ROC', result.rocArea.toFixed(4)]);
  const summary = lines.map(([name, value]) => `  ${name!.padEnd(17)}   ${value}\n`).join('');

  const roc = result.trueAcceptAt.map(({ limit, falseAccept, trueAccept, threshold }) => [
    limit === 0 ? 'none' : String(limit),
    falseAccept.toFixed(4),
    trueAccept.toFixed(4),
    threshold.toFixed(4),
  ]);
  const byFold = folds.map(({ pairs, correct, threshold }, i) => [String(i + 1), String(pairs), (correct / pairs).toFixed(4), threshold.toFixed(4)]);
  const tables = [table(['>False accepts up to', '>False accepts', '>True accepts', '>Threshold'], roc)];
  if (byFold.length > 0) tables.push(table(['>Fold', '>Pairs', '>Accuracy', '>Threshold of the others'], byFold));
  const notes: [string, string[]][] = [
    ['not there', leftOut.missing],
    ['not readable', leftOut.unreadable],
    ['without a face', leftOut.withoutFace],
  ];
  const named = notes.filter(([, photos]) => photos.length > 0);
  const lineOf = ([what, photos]: [string, string[]]) => `  ${count(photos.length, 'photo')} ${what}: ${printable(photos.join(', '))}\n`;
  if (named.length > 0) tables.push(named.map(lineOf).join(''));
  return [summary, ...tables].join('\n');
}
