import { FaissVisionError } from '../error';

/** How features are compared: by Euclidean distance, smaller for likelier the same, or by cosine similarity, larger. */
export type Metric = 'l2' | 'cosine';

/** Two photos that were compared, and whether they show one person in truth. */
export interface Comparison {
  score: number;
  same: boolean;
}

/** Euclidean distance or cosine similarity of two faces' features, in double precision. */
export function compareFeatures(a: Float32Array, b: Float32Array, metric: Metric): number {
  let squares = 0;
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    squares += (a[i]! - b[i]!) ** 2;
    dot += a[i]! * b[i]!;
    aa += a[i]! ** 2;
    bb += b[i]! ** 2;
  }
  return metric === 'l2' ? Math.sqrt(squares) : dot / Math.sqrt(aa * bb);
}

/** Whether a score says "the same person": a distance below the threshold, a cosine similarity above it. */
export function isSame(score: number, threshold: number, metric: Metric): boolean {
  return metric === 'l2' ? score < threshold : score > threshold;
}

/** The comparisons that a threshold decides rightly. */
export function countCorrect(comparisons: readonly Comparison[], threshold: number, metric: Metric): number {
  return comparisons.filter(({ score, same }) => isSame(score, threshold, metric) === same).length;
}

/** Comparisons of one and the same score, which no threshold can tell apart. */
interface Step {
  /** The score as a distance: negated for cosine. */
  distance: number;
  same: number;
  different: number;
}

/** All comparisons, likeliest the same first. */
function stepsOf(comparisons: readonly Comparison[], metric: Metric): Step[] {
  const distances = comparisons.map(({ score, same }) => ({ distance: metric === 'l2' ? score : -score, same }));
  distances.sort((a, b) => a.distance - b.distance);
  const steps: Step[] = [];
  for (const { distance, same } of distances) {
    let step = steps.at(-1);
    if (step?.distance !== distance) steps.push((step = { distance, same: 0, different: 0 }));
    if (same) step!.same++;
    else step!.different++;
  }
  return steps;
}

/** A threshold that accepts the first `accepted` steps and no other: halfway between two scores where it has a neighbour on both sides. */
function thresholdAfter(steps: readonly Step[], accepted: number, metric: Metric): number {
  const [last, next] = [steps[accepted - 1]?.distance, steps[accepted]?.distance];
  let distance: number;
  // Only what is strictly nearer is accepted, so the next one's own distance leaves it out.
  if (last === undefined) distance = next ?? 0;
  else if (next === undefined) distance = last + Math.max(Math.abs(last), 1) * Number.EPSILON;
  else distance = (last + next) / 2 > last ? (last + next) / 2 : next;
  return metric === 'l2' ? distance : -distance;
}

/**
 * The threshold with the most right decisions; of several the one with the widest gap between the scores on its two
 * sides, and of those the strictest.
 *
 * @returns the threshold, and the share of right decisions with it
 */
export function bestThreshold(comparisons: readonly Comparison[], metric: Metric): { threshold: number; accuracy: number } {
  if (comparisons.length === 0) throw new FaissVisionError('ERR_PAIRS_EMPTY', 'there is no pair to take a threshold from');
  const steps = stepsOf(comparisons, metric);
  // Nothing is accepted: every different pair is right.
  let correct = comparisons.filter(({ same }) => !same).length;
  let best = { correct, accepted: 0, gap: 0 };
  steps.forEach(({ distance, same, different }, i) => {
    correct += same - different;
    const gap = i + 1 < steps.length ? steps[i + 1]!.distance - distance : 0;
    if (correct > best.correct || (correct === best.correct && gap > best.gap)) best = { correct, accepted: i + 1, gap };
  });
  return { threshold: thresholdAfter(steps, best.accepted, metric), accuracy: best.correct / comparisons.length };
}

export interface FoldResult {
  pairs: number;
  correct: number;
  /** Of the other folds; it has not seen this one. */
  threshold: number;
}

export interface CrossValidation {
  /** Mean of the folds' accuracies. */
  accuracy: number;
  /** Of that mean. */
  standardError: number;
  folds: FoldResult[];
}

/**
 * Accuracy as the protocol of Labeled Faces in the Wild has it: each fold is decided with the best threshold of all
 * others together; the result is the mean of the folds' accuracies, with the standard error of that mean (the standard
 * deviation with n - 1 below, divided by the square root of n).
 *
 * Source: G. Huang, M. Ramesh, T. Berg, E. Learned-Miller, "Labeled Faces in the Wild", University of Massachusetts,
 * Amherst, Technical Report 07-49 (2007), View 2.
 *
 * @throws ERR_PAIRS_EMPTY for fewer than two folds, or where a fold has no pair
 */
export function crossValidate(folds: readonly (readonly Comparison[])[], metric: Metric): CrossValidation {
  if (folds.length < 2 || folds.some((fold) => fold.length === 0)) {
    const message = `cross-validation needs two folds or more with pairs in each, got [${folds.map((fold) => fold.length)}] pairs`;
    throw new FaissVisionError('ERR_PAIRS_EMPTY', message);
  }
  const results = folds.map((fold, i) => {
    const { threshold } = bestThreshold(folds.filter((_, other) => other !== i).flat(), metric);
    return { pairs: fold.length, correct: countCorrect(fold, threshold, metric), threshold };
  });
  const accuracies = results.map(({ correct, pairs }) => correct / pairs);
  const accuracy = mean(accuracies);
  const variance = accuracies.reduce((sum, each) => sum + (each - accuracy) ** 2, 0) / (folds.length - 1);
  return { accuracy, standardError: Math.sqrt(variance / folds.length), folds: results };
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** A point of the receiver operating characteristic: what a threshold accepts. */
export interface RocPoint {
  threshold: number;
  /** Share of the different pairs that are taken for the same, 0 to 1. */
  falseAccept: number;
  /** Share of the same pairs that are taken for the same, 0 to 1. */
  trueAccept: number;
}

/**
 * The receiver operating characteristic, strictest threshold first: from (0, 0) to (1, 1). Points on a straight piece
 * of it, where only one of both shares moves, are left out but for its ends.
 *
 * @throws ERR_PAIRS_EMPTY unless there are pairs of both kinds
 */
export function rocCurve(comparisons: readonly Comparison[], metric: Metric): RocPoint[] {
  const steps = stepsOf(comparisons, metric);
  const same = steps.reduce((sum, step) => sum + step.same, 0);
  const different = comparisons.length - same;
  if (same === 0 || different === 0) {
    throw new FaissVisionError('ERR_PAIRS_EMPTY', `a ROC curve needs pairs of one person and of two, got ${same} and ${different}`);
  }
  const points: RocPoint[] = [];
  let [trueAccepts, falseAccepts] = [0, 0];
  for (let accepted = 0; accepted <= steps.length; accepted++) {
    const [before, after] = [steps[accepted - 1], steps[accepted]];
    trueAccepts += before?.same ?? 0;
    falseAccepts += before?.different ?? 0;
    const straight = before && after && ((!before.same && !after.same) || (!before.different && !after.different));
    if (straight) continue;
    const threshold = thresholdAfter(steps, accepted, metric);
    points.push({ threshold, falseAccept: falseAccepts / different, trueAccept: trueAccepts / same });
  }
  return points;
}

/** The point of the curve with the most true accepts at no more than this share of false ones; of several the strictest. */
export function pointAt(roc: readonly RocPoint[], falseAccept: number): RocPoint {
  const allowed = roc.filter((point) => point.falseAccept <= falseAccept);
  return allowed.reduce((best, point) => (point.trueAccept > best.trueAccept ? point : best));
}

/** The area under the curve: the chance that a same pair scores better than a different one, ties counting half. */
export function rocArea(roc: readonly RocPoint[]): number {
  return roc.reduce((sum, { falseAccept, trueAccept }, i) => {
    const before = roc[i - 1];
    return before ? sum + ((falseAccept - before.falseAccept) * (trueAccept + before.trueAccept)) / 2 : sum;
  }, 0);
}
