import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Comparison,
  type Metric,
  bestThreshold,
  compareFeatures,
  countCorrect,
  crossValidate,
  isSame,
  pointAt,
  rocArea,
  rocCurve,
} from '../lib/face/evaluation';
import { parsePairs } from '../lib/face/pairs';

const same = (...scores: number[]): Comparison[] => scores.map((score) => ({ score, same: true }));
const different = (...scores: number[]): Comparison[] => scores.map((score) => ({ score, same: false }));
/** The same comparisons as cosine similarities: the nearer, the larger. */
const asCosine = (comparisons: Comparison[]): Comparison[] => comparisons.map(({ score, same }) => ({ score: -score, same }));

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return `${(error as { code: string }).code} ${(error as Error).message}`;
  }
  return '';
}

describe('scores', () => {
  it('are Euclidean distances and cosine similarities', () => {
    expect(compareFeatures(Float32Array.of(1, 2), Float32Array.of(4, 6), 'l2')).toBe(5);
    expect(compareFeatures(Float32Array.of(3, 4), Float32Array.of(4, 3), 'cosine')).toBeCloseTo(24 / 25, 12);
  });

  it('say the same below a distance and above a similarity, never at the threshold', () => {
    expect([0.59, 0.6, 0.61].map((score) => isSame(score, 0.6, 'l2'))).toEqual([true, false, false]);
    expect([0.59, 0.6, 0.61].map((score) => isSame(score, 0.6, 'cosine'))).toEqual([false, false, true]);
  });
});

describe('the best threshold', () => {
  it('lies halfway between two people and one', () => {
    const comparisons = [...same(0.25, 0.5), ...different(0.75, 1)];
    expect(bestThreshold(comparisons, 'l2')).toEqual({ threshold: 0.625, accuracy: 1 });
    expect(bestThreshold(asCosine(comparisons), 'cosine')).toEqual({ threshold: -0.625, accuracy: 1 });
  });

  it('takes the widest of several gaps that are equally right', () => {
    // 0.2 | 0.4 ... 0.9 | 1: three of four are right after 0.2 and after 0.9.
    expect(bestThreshold([...same(0.2, 0.9), ...different(0.4, 1)], 'l2')).toEqual({ threshold: (0.2 + 0.4) / 2, accuracy: 0.75 });
    expect(bestThreshold([...same(0.2, 0.9), ...different(0.4, 2)], 'l2')).toEqual({ threshold: (0.9 + 2) / 2, accuracy: 0.75 });
  });

  it('accepts nothing or everything where that is best', () => {
    for (const metric of ['l2', 'cosine'] as const) {
      for (const kind of [same, different]) {
        const comparisons = kind(0.5, 3, 0.7);
        const { threshold, accuracy } = bestThreshold(comparisons, metric);
        expect(accuracy).toBe(1);
        expect(countCorrect(comparisons, threshold, metric)).toBe(3);
      }
    }
  });

  it('tells apart neighbouring floating-point numbers', () => {
    const comparisons = [...same(1), ...different(1 + Number.EPSILON)];
    const { threshold, accuracy } = bestThreshold(comparisons, 'l2');
    expect([accuracy, countCorrect(comparisons, threshold, 'l2')]).toEqual([1, 2]);
  });

  it('needs a pair', () => expect(codeOf(() => bestThreshold([], 'l2'))).toMatch(/^ERR_PAIRS_EMPTY/));
});

describe('cross-validation as LFW has it', () => {
  it('decides each fold by the others, and gives mean and standard error', () => {
    const folds = [
      [...same(0.25), ...different(0.75)], // others: 0.25 0.6 | 0.5 0.75 -> best 0.375 or 0.675 (3 of 4); the gaps 0.25 and 0.15: 0.375
      [...same(0.6), ...different(0.75)], // others: 0.25 0.25 | 0.5 0.75 -> 0.375, so 0.6 is wrong
      [...same(0.25), ...different(0.5)], // others: 0.25 0.6 | 0.75 0.75 -> 0.675, so 0.5 is wrong
    ];
    const { accuracy, standardError, folds: results } = crossValidate(folds, 'l2');
    expect(results).toEqual([
      { pairs: 2, correct: 2, threshold: 0.375 },
      { pairs: 2, correct: 1, threshold: 0.375 },
      { pairs: 2, correct: 1, threshold: 0.675 },
    ]);
    expect(accuracy).toBeCloseTo(2 / 3, 12);
    // Accuracies 1, 1/2, 1/2: squared differences 1/9 + 1/36 + 1/36 = 1/6, over 2, over 3.
    expect(standardError).toBeCloseTo(Math.sqrt(1 / 36), 12);
  });

  it('needs two folds with pairs', () => {
    expect(codeOf(() => crossValidate([same(1)], 'l2'))).toMatch(/^ERR_PAIRS_EMPTY .*\[1\]/);
    expect(codeOf(() => crossValidate([same(1), []], 'l2'))).toMatch(/^ERR_PAIRS_EMPTY .*\[1,0\]/);
  });
});

describe('the ROC curve', () => {
  const comparisons = [...same(1, 2, 4), ...different(3, 4, 5, 6)];

  it('goes through every corner, ties at once', () => {
    expect(rocCurve(comparisons, 'l2').slice(0, -1)).toEqual([
      { threshold: 1, falseAccept: 0, trueAccept: 0 },
      { threshold: 2.5, falseAccept: 0, trueAccept: 2 / 3 },
      { threshold: 3.5, falseAccept: 0.25, trueAccept: 2 / 3 },
      { threshold: 4.5, falseAccept: 0.5, trueAccept: 1 },
    ]);
    expect(rocCurve(comparisons, 'l2').at(-1)).toMatchObject({ falseAccept: 1, trueAccept: 1 });
  });

  it('gives the true accepts at a share of false ones', () => {
    const roc = rocCurve(comparisons, 'l2');
    expect(pointAt(roc, 1e-3)).toEqual({ threshold: 2.5, falseAccept: 0, trueAccept: 2 / 3 });
    expect(pointAt(roc, 0.4)).toEqual({ threshold: 2.5, falseAccept: 0, trueAccept: 2 / 3 });
    expect(pointAt(roc, 0.5)).toEqual({ threshold: 4.5, falseAccept: 0.5, trueAccept: 1 });
  });

  it('has the area by hand', () => {
    // 1 and 2 are before all four; 4 is before two, level with one: (4 + 4 + 2.5) / 12.
    expect(rocArea(rocCurve(comparisons, 'l2'))).toBeCloseTo(10.5 / 12, 12);
  });

  it('needs pairs of both kinds', () => {
    expect(codeOf(() => rocCurve(same(1, 2), 'l2'))).toMatch(/^ERR_PAIRS_EMPTY .*2 and 0/);
    expect(codeOf(() => rocCurve(different(1), 'l2'))).toMatch(/^ERR_PAIRS_EMPTY .*0 and 1/);
  });
});

describe('against every threshold tried one by one', () => {
  // Few values, so that ties happen; both kinds are there.
  const scores = fc.array(fc.record({ score: fc.integer({ min: -8, max: 8 }).map((n) => n / 8), same: fc.boolean() }), { maxLength: 40 });
  const both = scores.map((rest): Comparison[] => [...rest, { score: 0.25, same: true }, { score: 0.5, same: false }]);
  const metrics = fc.constantFrom<Metric>('l2', 'cosine');
  /** Thresholds below, between and above all scores. */
  const thresholds = Array.from({ length: 36 }, (_, i) => (i - 17.5) / 16);

  it('no threshold decides more pairs rightly than the best', () => {
    fc.assert(
      fc.property(both, metrics, (comparisons, metric) => {
        const { threshold, accuracy } = bestThreshold(comparisons, metric);
        const most = Math.max(...thresholds.map((each) => countCorrect(comparisons, each, metric)));
        expect(countCorrect(comparisons, threshold, metric)).toBe(most);
        expect(accuracy).toBe(most / comparisons.length);
      }),
    );
  });

  it('the curve has the shares that its thresholds give, and the true accepts of every one', () => {
    fc.assert(
      fc.property(both, metrics, (comparisons, metric) => {
        const share = (kind: boolean, threshold: number) => {
          const pairs = comparisons.filter((pair) => pair.same === kind);
          return pairs.filter(({ score }) => isSame(score, threshold, metric)).length / pairs.length;
        };
        const roc = rocCurve(comparisons, metric);
        for (const { threshold, falseAccept, trueAccept } of roc) {
          expect([falseAccept, trueAccept]).toEqual([share(false, threshold), share(true, threshold)]);
        }
        expect(roc[0]).toMatchObject({ falseAccept: 0, trueAccept: 0 });
        expect(roc.at(-1)).toMatchObject({ falseAccept: 1, trueAccept: 1 });
        for (const limit of [0, 0.1, 0.3, 1]) {
          const reached = thresholds.filter((each) => share(false, each) <= limit).map((each) => share(true, each));
          expect(pointAt(roc, limit).trueAccept).toBe(Math.max(...reached));
        }
      }),
    );
  });

  it('the area is the chance that a same pair stands before a different one', () => {
    fc.assert(
      fc.property(both, metrics, (comparisons, metric) => {
        const likeness = ({ score }: Comparison) => (metric === 'l2' ? -score : score);
        const [yes, no] = [comparisons.filter(({ same }) => same), comparisons.filter(({ same }) => !same)];
        const wins = yes.flatMap((a) => no.map((b) => (Math.sign(likeness(a) - likeness(b)) + 1) / 2));
        expect(rocArea(rocCurve(comparisons, metric))).toBeCloseTo(wins.reduce((sum, win) => sum + win, 0) / wins.length, 10);
      }),
    );
  });
});

describe("LFW's list of pairs", () => {
  it('names folds and photos', () => {
    const text = '2\t1\nAda_Lovelace\t1\t12\nAda_Lovelace\t2\tAlan\t1\nAlan\t1\t2\nAlan\t3\tAda_Lovelace\t12345\n';
    const expected = [
      [
        { a: 'Ada_Lovelace/Ada_Lovelace_0001.jpg', b: 'Ada_Lovelace/Ada_Lovelace_0012.jpg', same: true },
        { a: 'Ada_Lovelace/Ada_Lovelace_0002.jpg', b: 'Alan/Alan_0001.jpg', same: false },
      ],
      [
        { a: 'Alan/Alan_0001.jpg', b: 'Alan/Alan_0002.jpg', same: true },
        { a: 'Alan/Alan_0003.jpg', b: 'Ada_Lovelace/Ada_Lovelace_12345.jpg', same: false },
      ],
    ];
    expect(parsePairs(text, 'pairs.txt')).toEqual(expected);
    expect(parsePairs(text.replaceAll('\n', '\r\n'), 'pairs.txt')).toEqual(expected);
    expect(parsePairs(text.replaceAll('\t', ' '), 'pairs.txt')).toEqual(expected);
    expect(parsePairs('1\nAda\t1\t2\nAda\t1\tAlan\t1\n', 'dev.txt').map((fold) => fold.length)).toEqual([2]);
  });

  it.each([
    ['', /line 1: expected the number of folds/],
    ['ten\t300\n', /line 1: expected the number of folds.*ten/],
    ['0\t1\n', /line 1/],
    ['1\t1\nAda\t1\t2\n', /line 1: 1 x 2 x 1 = 2 pairs are announced, 1 lines follow/],
    ['1\t1\nAda\t1\t2\nAda\t1\t3\n', /line 3: expected name<TAB>i<TAB>name<TAB>j, a pair of two people, got "Ada\\t1\\t3"/],
    ['1\t1\nAda\t1\tAlan\t2\nAda\t1\tAlan\t3\n', /line 2: expected name<TAB>i<TAB>j, a pair of one person/],
    ['1\t1\nAda\t1\tx\nAda\t1\tAlan\t3\n', /line 2: expected a person's name and a photo's number, got "Ada x"/],
  ])('refuses %j, naming the line', (text, message) => {
    expect(codeOf(() => parsePairs(text, 'pairs.txt'))).toMatch(message);
    expect(codeOf(() => parsePairs(text, 'pairs.txt'))).toMatch(/^ERR_PAIRS_FORMAT pairs\.txt/);
  });
});
