import { FaissVisionError } from '../error';

/** A pair of photos, each `person/person_0001.jpg` below the photos' folder. */
export interface PhotoPair {
  a: string;
  b: string;
  /** Whether both are photos of one person. */
  same: boolean;
}

/**
 * Reads a list of pairs in the format of Labeled Faces in the Wild (http://vis-www.cs.umass.edu/lfw/README.txt).
 *
 * The first line is `folds<TAB>n`, or `n` alone for one fold. Each fold has n pairs of one person, `name<TAB>i<TAB>j`,
 * and n of two, `name<TAB>i<TAB>name<TAB>j`: the i-th photo of a person is name/name_000i.jpg.
 *
 * @param name names the list in errors
 * @returns the pairs of each fold
 * @throws ERR_PAIRS_FORMAT, naming the line
 */
export function parsePairs(text: string, name: string): PhotoPair[][] {
  const fail = (line: number, what: string): never => {
    throw new FaissVisionError('ERR_PAIRS_FORMAT', `${name}, line ${line + 1}: ${what}`);
  };
  const lines = text.replace(/^\uFEFF/, '').trimEnd().split(/\r?\n/);
  // Names may hold spaces where fields are parted by tabs.
  const fields = lines.map((line) => (line.includes('\t') ? line.split('\t').map((field) => field.trim()) : line.trim().split(/\s+/)));

  const header = fields[0]!.map(Number);
  if (header.length > 2 || !header.every((value) => Number.isSafeInteger(value) && value >= 1)) {
    fail(0, `expected the number of folds and of pairs (folds<TAB>n), got ${JSON.stringify(lines[0]!.slice(0, 80))}`);
  }
  const [folds, n] = header.length === 2 ? (header as [number, number]) : [1, header[0]!];
  if (lines.length - 1 !== folds * 2 * n) {
    fail(0, `${folds} x 2 x ${n} = ${folds * 2 * n} pairs are announced, ${lines.length - 1} lines follow`);
  }
  const photo = (line: number, person: string, number: string): string => {
    if (person === '' || !/^\d{1,9}$/.test(number)) {
      fail(line, `expected a person's name and a photo's number, got ${JSON.stringify(`${person} ${number}`)}`);
    }
    return `${person}/${person}_${number.padStart(4, '0')}.jpg`;
  };
  const pair = (line: number): PhotoPair => {
    const [first = '', i = '', second = '', j = ''] = fields[line]!;
    const same = (line - 1) % (2 * n) < n;
    const expected = same ? 3 : 4;
    if (fields[line]!.length !== expected) {
      const format = same ? 'name<TAB>i<TAB>j, a pair of one person' : 'name<TAB>i<TAB>name<TAB>j, a pair of two people';
      fail(line, `expected ${format}, got ${JSON.stringify(lines[line]!.slice(0, 80))}`);
    }
    return same ? { a: photo(line, first, i), b: photo(line, first, second), same } : { a: photo(line, first, i), b: photo(line, second, j), same };
  };
  return Array.from({ length: folds }, (_, fold) => Array.from({ length: 2 * n }, (_, at) => pair(1 + fold * 2 * n + at)));
}
