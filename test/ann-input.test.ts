import { Ann, type AnnOptions } from 'faiss-vision/ann';
import { describe, expect, it } from 'vitest';
import { takeAway } from './support/take-away';
import { seeded } from './support/vectors';

const error = (code: string, text?: string) =>
  expect.objectContaining({ code, ...(text === undefined ? {} : { message: expect.stringContaining(text) }) });

/** An index with three vectors, and a check that they are still there and still found. */
async function enrolled() {
  const known = seeded(3 * 8, 40);
  const ann = new Ann({ dimension: 8, threshold: 0.9 });
  await ann.add(known, [1, 2, 3]);
  const intact = async () => {
    expect(ann.size).toBe(3);
    expect((await ann.search(known)).map(({ index }) => index)).toEqual([1, 2, 3]);
  };
  return { ann, intact };
}

describe('wrong options', () => {
  const cases: [string, unknown, string, string][] = [
    ['none', undefined, 'ERR_INVALID_ARGUMENT', '`options` must be an object'],
    ['null', null, 'ERR_INVALID_ARGUMENT', '`options` must be an object, got null'],
    ['dimension 0', { dimension: 0, threshold: 1 }, 'ERR_INVALID_ARGUMENT', '`dimension` must be a whole number from 1 to'],
    ['dimension 1.5', { dimension: 1.5, threshold: 1 }, 'ERR_INVALID_ARGUMENT', 'got 1.5'],
    ['dimension missing', { threshold: 1 }, 'ERR_INVALID_ARGUMENT', 'got undefined'],
    ['k 0', { dimension: 4, threshold: 1, k: 0 }, 'ERR_INVALID_ARGUMENT', '`k` must be a whole number from 1 to'],
    ['k -1', { dimension: 4, threshold: 1, k: -1 }, 'ERR_INVALID_ARGUMENT', '`k`'],
    ['threshold missing', { dimension: 4 }, 'ERR_INVALID_ARGUMENT', '`threshold` must be a finite number, got undefined'],
    ['threshold NaN', { dimension: 4, threshold: NaN }, 'ERR_INVALID_ARGUMENT', '`threshold`'],
    ['metric', { dimension: 4, threshold: 1, metric: 'manhattan' }, 'ERR_INVALID_ARGUMENT', "`metric` must be 'cosine' or 'l2', got 'manhattan'"],
    ['device', { dimension: 4, threshold: 1, device: 'tpu' }, 'ERR_INVALID_ARGUMENT', '`device`'],
    ['cuda', { dimension: 4, threshold: 1, device: 'cuda:1' }, 'ERR_CUDA_UNAVAILABLE', 'cannot be used: '],
  ];
  it.each(cases)('%s', (_, options, code, text) => {
    expect(() => new Ann(options as AnnOptions)).toThrowError(error(code, text));
  });
});

describe('wrong vectors', () => {
  const detached = new Float32Array(8);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const cases: [string, unknown, string, string][] = [
    ['of a wrong dimension', new Float32Array(7), 'ERR_DIMENSION_MISMATCH', 'vectors of 8 numbers, got 7 numbers'],
    ['empty', new Float32Array(0), 'ERR_EMPTY_INPUT', 'at least one vector'],
    ['nothing', undefined, 'ERR_INVALID_ARGUMENT', '`vectors` must be a Float32Array, got undefined'],
    ['a plain array', [1, 2, 3], 'ERR_INVALID_ARGUMENT', 'got an array of 3'],
    ['doubles', new Float64Array(8), 'ERR_INVALID_ARGUMENT', 'got a Float64Array of 8'],
    ['a DataView', new DataView(new ArrayBuffer(32)), 'ERR_INVALID_ARGUMENT', 'got an object'],
    ['NaN', Float32Array.of(0, 0, NaN, 0, 0, 0, 0, 1), 'ERR_NOT_FINITE', 'vector 0 has NaN at position 2'],
    ['infinity', Float32Array.of(0, 0, 0, 0, 0, 0, 0, Infinity), 'ERR_NOT_FINITE', 'Infinity at position 7'],
    ['minus infinity', Float32Array.of(-Infinity, 0, 0, 0, 0, 0, 0, 0), 'ERR_NOT_FINITE', '-Infinity'],
    ['no direction', new Float32Array(8), 'ERR_ZERO_VECTOR', 'all zeros'],
    ['a detached buffer', detached, 'ERR_DETACHED', 'detached'],
  ];
  it.each(cases)('%s', async (_, vectors, code, text) => {
    const { ann, intact } = await enrolled();
    await expect(ann.add(vectors as Float32Array)).rejects.toThrowError(error(code, text));
    await expect(ann.search(vectors as Float32Array)).rejects.toThrowError(error(code, text));
    expect(() => ann.addSync(vectors as Float32Array)).toThrowError(error(code, text));
    expect(() => ann.searchSync(vectors as Float32Array)).toThrowError(error(code, text));
    await intact();
  });
});

describe('wrong ids', () => {
  const cases: [string, unknown, string, string][] = [
    ['negative', -1, 'ERR_INVALID_ID', 'got -1'],
    ['negative in a BigInt64Array', BigInt64Array.of(-5n), 'ERR_INVALID_ID', 'got -5'],
    ['beyond 2^53', 2 ** 53, 'ERR_INVALID_ID', 'got 9007199254740992'],
    ['a bigint beyond 2^53', 2n ** 53n, 'ERR_INVALID_ID', 'got 9007199254740992n'],
    ['a bigint beyond 64 bits', 2n ** 70n, 'ERR_INVALID_ID', 'got'],
    ['half', [0.5], 'ERR_INVALID_ID', 'got 0.5'],
    ['a string', ['7'], 'ERR_INVALID_ID', "got '7'"],
    ['not a list', { 0: 1 }, 'ERR_INVALID_ARGUMENT', '`ids` must be a number'],
  ];
  it.each(cases)('%s', async (_, ids, code, text) => {
    const { ann, intact } = await enrolled();
    await expect(ann.add(seeded(8, 41), ids as number)).rejects.toThrowError(error(code, text));
    await expect(ann.erase(ids as number)).rejects.toThrowError(error(code, text));
    await intact();
  });

  it('that are known, twice the same, too many or too few', async () => {
    const { ann, intact } = await enrolled();
    await expect(ann.add(seeded(8, 41), 2)).rejects.toThrowError(error('ERR_DUPLICATE_ID', '2 is already known'));
    await expect(ann.add(seeded(16, 41), [4, 4n])).rejects.toThrowError(error('ERR_DUPLICATE_ID', '4 comes twice'));
    await expect(ann.add(seeded(8, 41), [4, 5])).rejects.toThrowError(error('ERR_INVALID_ARGUMENT', 'as many as the vectors, 1, got 2'));
    await expect(ann.add(seeded(16, 41), [4])).rejects.toThrowError(error('ERR_INVALID_ARGUMENT', 'got 1'));
    await intact();
  });

  it('takes the largest id there is, and no further number after it', async () => {
    const { ann } = await enrolled();
    const largest = Number.MAX_SAFE_INTEGER;
    expect(await ann.add(seeded(8, 42), BigInt64Array.of(BigInt(largest)))).toEqual([largest]);
    await expect(ann.add(seeded(8, 43))).rejects.toThrowError(error('ERR_INVALID_ID', 'used up'));
    expect((await ann.search(seeded(8, 42)))[0]!.index).toBe(largest);
  });
});

describe('memory that changes during a call', () => {
  const d = 512;
  const n = 2000; // 4 MB: well beyond what is copied at once
  const index = async () => {
    const ann = new Ann({ dimension: d, threshold: 0.9 });
    const known = seeded(n * d, 50);
    await ann.add(known.slice());
    return { ann, known };
  };

  it('a buffer transferred away: the answer to its earlier contents', async () => {
    const { ann, known } = await index();
    const search = ann.search(known);
    takeAway(known.buffer);
    for (let i = 0; i < 20; i++) new Float32Array(1 << 20).fill(7); // what was taken away is nobody's: let it be collected
    expect((await search).every(({ index }, i) => index === i)).toBe(true);
  });

  it('a resizable buffer shrunk to nothing: the answer to its earlier contents', async () => {
    const { ann, known } = await index();
    const Resizable = ArrayBuffer as unknown as new (length: number, options: object) => ArrayBuffer & { resize(length: number): void };
    const buffer = new Resizable(known.byteLength, { maxByteLength: 2 * known.byteLength });
    const queries = new Float32Array(buffer);
    queries.set(known);
    const search = ann.search(queries);
    const added = ann.add(queries, Array.from({ length: n }, (_, i) => n + i));
    buffer.resize(0);
    expect((await search).every(({ index }, i) => index === i)).toBe(true);
    expect(await added).toHaveLength(n);
    await expect(ann.search(queries)).rejects.toThrowError(error('ERR_EMPTY_INPUT'));
  });

  it('shared memory written to meanwhile: the answer to its earlier contents', async () => {
    const { ann, known } = await index();
    const queries = new Float32Array(new SharedArrayBuffer(known.byteLength));
    queries.set(known);
    const search = ann.search(queries);
    queries.fill(NaN);
    expect((await search).every(({ index }, i) => index === i)).toBe(true);
  });

  it('an array overwritten meanwhile: an error or an answer, and an index that is whole', async () => {
    const { ann, known } = await index();
    for (let round = 0; round < 5; round++) {
      const vectors = known.slice();
      const added = ann.add(vectors).then(() => true, (failure) => failure.code as string);
      vectors.fill(NaN);
      const outcome = await added;
      expect([true, 'ERR_NOT_FINITE']).toContain(outcome);
      await ann.search(known).then((decisions) => expect(decisions.every(({ score }) => score! > 0.99)).toBe(true));
    }
  });

  it('the arrays of a caller that keeps no reference', async () => {
    const { ann, known } = await index();
    const searches = Array.from({ length: 20 }, () => ann.search(known.slice()));
    for (let i = 0; i < 50; i++) new Float32Array(1 << 20).fill(7); // makes the collector run
    for (const decisions of await Promise.all(searches)) expect(decisions.every(({ index }, i) => index === i)).toBe(true);
  });
});
