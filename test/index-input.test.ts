import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  BinaryIndex, Index, IndexFlatIP, IndexFlatL2, IndexHNSW, IndexIVFFlat, IndexIVFPQ, IndexLSH, IndexPQ, IndexScalarQuantizer,
} from 'faiss-vision/ann';
import { afterAll, describe, expect, it } from 'vitest';
import { error } from './support/index-vectors';
import { seeded } from './support/vectors';

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-input-'));
afterAll(() => rmSync(folder, { recursive: true }));

type Anything = any; // eslint-disable-line @typescript-eslint/no-explicit-any
const wrong = 'ERR_INVALID_ARGUMENT';

const d = 8;
const known = seeded(40 * d, 40);

/** An index of ten vectors with the ids from 10 on, and a check that it is as it was. */
function filled(description = 'IDMap2,Flat') {
  const index = Index.factory(d, description);
  if (!index.isTrained) index.trainSync(known);
  const x = known.slice(0, 10 * d);
  if (description.startsWith('IDMap')) index.addSync(x, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
  else index.addSync(x);
  const before = index.searchSync(x, 3);
  const described = index.describeSync();
  const intact = () => {
    expect([index.ntotal, index.queue]).toEqual([10, 0]);
    expect(index.searchSync(x, 3)).toEqual(before);
    expect(index.describeSync()).toEqual(described);
  };
  return { index: index as Anything, intact };
}

describe('wrong ways to make an index', () => {
  const cases: [string, () => unknown, string, string][] = [
    ['no dimension', () => Index.factory(undefined as Anything, 'Flat'), wrong, '`dimension` must be a whole number from 1 to 1048576, got undefined'],
    ['dimension 0', () => Index.factory(0, 'Flat'), wrong, 'got 0'],
    ['dimension -4', () => Index.factory(-4, 'Flat'), wrong, 'got -4'],
    ['dimension 1.5', () => Index.factory(1.5, 'Flat'), wrong, 'got 1.5'],
    ['dimension NaN', () => Index.factory(NaN, 'Flat'), wrong, 'got NaN'],
    ['dimension 2^40', () => Index.factory(2 ** 40, 'Flat'), wrong, '`dimension`'],
    ['dimension as text', () => Index.factory('8' as Anything, 'Flat'), wrong, "got '8'"],
    ['no description', () => Index.factory(8, undefined as Anything), wrong, '`description` must be a string, got undefined'],
    ['a null character', () => Index.factory(8, 'Flat\0'), wrong, '`description` must be a string without a null character'],
    ['an unknown description', () => Index.factory(8, 'Flut'), wrong, "got 'Flut'"],
    ['a long one', () => Index.factory(8, 'x'.repeat(500)), wrong, 'longer than 400'],
    ['other characters', () => Index.factory(8, 'Flat;'), wrong, 'characters'],
    ['open parentheses', () => Index.factory(8, 'IVF2(Flat,Flat'), wrong, 'parentheses'],
    ['5000 parentheses', () => Index.factory(8, '('.repeat(5000)), wrong, '`description`'],
    ['nested parentheses', () => Index.factory(8, `${'IVF2('.repeat(20)}Flat${'),Flat'.repeat(20)}`), wrong, 'nested'],
    ['a PQ that does not fit', () => Index.factory(8, 'PQ3'), wrong, '`description`'],
    ['PQ0', () => Index.factory(8, 'PQ0'), wrong, '`description`'],
    ['HNSW1', () => Index.factory(8, 'HNSW1'), wrong, 'neighbours must be from 2'],
    ['HNSW of millions', () => Index.factory(8, 'HNSW99999999'), wrong, '`description`'],
    ['IVF0', () => Index.factory(8, 'IVF0,Flat'), wrong, 'lists must be from 1'],
    ['IVF of billions', () => Index.factory(8, 'IVF4294967297,Flat'), wrong, '`description`'],
    ['a rotation to millions', () => Index.factory(8, 'RR1000000,Flat'), wrong, 'rotation'],
    ['few lists for an NSG', () => Index.factory(8, 'IVF16_NSG16,Flat'), wrong, 'lists'],
    ['a Refine that cannot refine', () => Index.factory(8, 'SQ8,Refine(IVF4,Flat)'), wrong, 'cannot refine'],
    ['unknown metric', () => Index.factory(8, 'Flat', { metric: 'cosine' as Anything }), wrong, "`metric` must be 'l2', 'ip', 'l1', 'linf', 'canberra', 'braycurtis' or 'jensenshannon', got 'cosine'"],
    ['metric null', () => Index.factory(8, 'Flat', { metric: null as Anything }), wrong, 'got null'],
    ['l1 for an IVF', () => Index.factory(8, 'IVF4,Flat', { metric: 'l1' }), 'ERR_UNSUPPORTED', "`metric` must be 'l2' or 'ip' for an IndexIVFFlat"],
    ['l1 for an SQ', () => Index.factory(8, 'SQ8', { metric: 'l1' }), 'ERR_UNSUPPORTED', '`metric`'],
    ['canberra for a Refine', () => Index.factory(8, 'HNSW8,RFlat', { metric: 'canberra' }), 'ERR_UNSUPPORTED', '`metric`'],
    ['cuda', () => Index.factory(8, 'Flat', { device: 'cuda:1' }), 'ERR_CUDA_UNAVAILABLE', 'cannot be used: '],
    ['another device', () => Index.factory(8, 'Flat', { device: 'tpu' as Anything }), wrong, "`device` must be 'cpu', 'cuda' or 'cuda:N', got 'tpu'"],
    ['options null', () => Index.factory(8, 'Flat', null as Anything), wrong, '`options` must be an object, got null'],
    ['options a string', () => Index.factory(8, 'Flat', 'l2' as Anything), wrong, '`options` must be an object, got string'],
    ['queueLimit 0', () => Index.factory(8, 'Flat', { queueLimit: 0 }), wrong, '`queueLimit` must be a whole number from 1'],
    ['queueLimit NaN', () => Index.factory(8, 'Flat', { queueLimit: NaN }), wrong, 'got NaN'],
    ['no m', () => new IndexHNSW(8, 0), wrong, '`m` must be a whole number from 2 on, got 0'],
    ['half a list', () => new IndexIVFFlat(8, 1.5), wrong, '`nlist` must be a whole number from 1 on, got 1.5'],
    ['no nlist', () => new IndexIVFPQ(8, undefined as Anything, 2), wrong, '`nlist`'],
    ['text for m', () => new IndexPQ(8, '2x4,IDMap' as Anything), wrong, '`m`'],
    ['-1 bits', () => new IndexLSH(8, -1), wrong, '`nbits`'],
    ['no such type', () => new IndexScalarQuantizer(8, 'SQ5' as Anything), wrong, "`type` must be 'SQ4', 'SQ6', 'SQ8' or 'SQfp16', got 'SQ5'"],
    ['FlatL2 of nothing', () => new IndexFlatL2(0), wrong, '`dimension`'],
    ['FlatIP with options null', () => new IndexFlatIP(8, null as Anything), wrong, '`options`'],
    ['7 bits', () => BinaryIndex.factory(7, 'BFlat'), wrong, '`dimension`'],
    ['12 bits', () => BinaryIndex.factory(12, 'BFlat'), wrong, '`dimension` must be a multiple of 8'],
    ['a float type for bits', () => BinaryIndex.factory(64, 'Flat'), wrong, 'BFlat'],
    ['a bit type for floats', () => Index.factory(64, 'BFlat'), wrong, '`description`'],
    ['more behind it', () => BinaryIndex.factory(64, 'BFlat,IDMap'), wrong, '`description`'],
    ['a hash longer than the vector', () => BinaryIndex.factory(64, 'BHash99'), wrong, '`description`'],
    ['no handle', () => Index.attach(undefined as Anything), wrong, '`handle` must be what Index.share() gave, got undefined'],
    ['another one\'s handle', () => Index.attach(BinaryIndex.factory(64, 'BFlat').share()), wrong, '`handle`'],
    ['a handle that opens nothing', () => Index.attach({ faissVision: 'Index', key: 'abc' }), 'ERR_CLOSED', '`handle`'],
    ['no path', () => Index.loadSync(undefined as Anything), wrong, '`path` must be a string, got undefined'],
    ['no bytes', () => Index.fromBufferSync([1, 2] as Anything), wrong, '`bytes` must be a Uint8Array, got an array of 2'],
    ['no file', () => Index.loadSync(join(folder, 'missing')), 'ERR_FILE_NOT_FOUND', 'missing'],
    ['a folder', () => Index.loadSync(folder), 'ERR_FILE_READ', folder],
  ];
  it.each(cases)('%s', (_, make, code, text) => {
    expect(make).toThrowError(error(code, text));
  });

  it('loads reject as well', async () => {
    await expect(Index.load(undefined as Anything)).rejects.toThrowError(error(wrong, '`path`'));
    await expect(Index.load(join(folder, 'missing'))).rejects.toThrowError(error('ERR_FILE_NOT_FOUND'));
    await expect(BinaryIndex.load(folder)).rejects.toThrowError(error('ERR_FILE_READ'));
    await expect(Index.fromBuffer(undefined as Anything)).rejects.toThrowError(error(wrong, '`bytes`'));
    await expect(Index.load(join(folder, 'missing'), null as Anything)).rejects.toBeInstanceOf(Error);
  });
});

const detached = new Float32Array(8);
structuredClone(detached.buffer, { transfer: [detached.buffer] });
const vectors: [string, unknown, string, string][] = [
  ['nothing', undefined, wrong, '`vectors` must be a Float32Array, got undefined'],
  ['null', null, wrong, 'got null'],
  ['a plain array', [1, 2], wrong, 'got an array of 2'],
  ['doubles', new Float64Array(8), wrong, 'got a Float64Array of 8'],
  ['bytes', new Uint8Array(32), wrong, 'got a Uint8Array of 32'],
  ['a DataView', new DataView(new ArrayBuffer(32)), wrong, 'got an object'],
  ['none', new Float32Array(0), 'ERR_EMPTY_INPUT', 'at least one vector'],
  ['a wrong length', new Float32Array(9), 'ERR_DIMENSION_MISMATCH', 'vectors of 8 numbers, got 9 numbers'],
  ['NaN', Float32Array.of(0, 0, NaN, 0, 0, 0, 0, 1), 'ERR_NOT_FINITE', 'vector 0 has NaN at position 2'],
  ['infinity in the second', Float32Array.of(0, 0, 0, 0, 0, 0, 0, 0, 1, -Infinity, 0, 0, 0, 0, 0, 0), 'ERR_NOT_FINITE', 'vector 1 has -Infinity at position 1'],
  ['a detached buffer', detached, 'ERR_DETACHED', 'detached'],
];
const ids: [string, unknown, string, string][] = [
  ['null', null, wrong, '`ids` must be a number, a bigint, an array of them or a BigInt64Array, got null'],
  ['text', '5', wrong, "got '5'"],
  ['a set', new Set([1]), wrong, 'got an object'],
  ['Int32Array', new Int32Array(1), wrong, 'got an Int32Array of 1'],
  ['negative', [-1], 'ERR_INVALID_ID', '`ids` must be whole numbers from 0 to 2^63 - 1, got -1'],
  ['a fraction', [0.5], 'ERR_INVALID_ID', 'got 0.5'],
  ['beyond exact numbers', [2 ** 53], 'ERR_INVALID_ID', 'got 9007199254740992'],
  ['beyond int64', [2n ** 63n], 'ERR_INVALID_ID', 'got 9223372036854775808n'],
  ['a negative bigint', BigInt64Array.of(-5n), 'ERR_INVALID_ID', 'got -5n'],
  ['text among them', [1, '2'], 'ERR_INVALID_ID', "got '2'"],
  ['a hole', [, 1], 'ERR_INVALID_ID', 'got undefined'], // eslint-disable-line no-sparse-arrays
];
const x = known.slice(0, d);
const searches: [string, unknown[], string, string][] = [
  ['k 0', [x, 0], wrong, '`k` must be a whole number from 1 to 2147483647, got 0'],
  ['no k', [x], wrong, 'got undefined'],
  ['k -1', [x, -1], wrong, 'got -1'],
  ['k 1.5', [x, 1.5], wrong, 'got 1.5'],
  ['k 2^31', [x, 2 ** 31], wrong, '`k`'],
  ['k as text', [x, '3'], wrong, "got '3'"],
  ['too many results', [known, 2 ** 30], wrong, '2^32 results'],
  ['options null', [x, 3, null], wrong, '`options` must be an object, got null'],
  ['options a number', [x, 3, 3], wrong, '`options` must be an object, got number'],
  ['params null', [x, 3, { params: null }], wrong, '`params` must be an object of parameter names and numbers, got null'],
  ['params with text', [x, 3, { params: { nprobe: '4' } }], wrong, "`params.nprobe` must be a finite number, got '4'"],
  ['an unknown parameter', [x, 3, { params: { nprobe: 4 } }], 'ERR_UNKNOWN_PARAMETER', '`nprobe` is no parameter of an IndexIDMap2, which has none'],
  ['filter null', [x, 3, { filter: null }], wrong, '`filter` must be { keep: ids } or { leaveOut: ids }, got null'],
  ['filter of nothing', [x, 3, { filter: {} }], wrong, 'one of the two'],
  ['filter of both', [x, 3, { filter: { keep: [1], leaveOut: [2] } }], wrong, 'one of the two'],
  ['filter with text', [x, 3, { filter: { keep: 'all' } }], wrong, '`filter.keep`'],
  ['filter with wrong ids', [x, 3, { filter: { leaveOut: [1.5] } }], 'ERR_INVALID_ID', '`filter.leaveOut` must be whole numbers'],
  ['a range without an end', [x, 3, { filter: { keep: { from: 3 } } }], 'ERR_INVALID_ID', '`filter.keep.to`'],
  ['filter null inside', [x, 3, { filter: { keep: null } }], wrong, '`filter.keep`'],
];

describe.each(['IDMap2,Flat', 'HNSW8', 'IVF2,Flat'])('wrong arguments for %s', (description) => {
  /** Every call in both its ways: one throws, the other rejects and does not throw. */
  async function refused(method: string, args: unknown[], code: string, text: string) {
    const { index, intact } = filled(description);
    expect(() => index[`${method}Sync`](...args)).toThrowError(error(code, text));
    let promise: Promise<unknown>;
    expect(() => (promise = index[method](...args))).not.toThrow();
    await expect(promise!).rejects.toThrowError(error(code, text));
    intact();
  }

  it.each(vectors)('vectors: %s', async (_, value, code, text) => {
    for (const [method, ...rest] of [['add'], ['search', 3], ['rangeSearch', 1]] as const) await refused(method, [value, ...rest], code, text);
  });

  it.each(vectors)('to train with: %s', async (_, value, code, text) => {
    if (description !== 'IVF2,Flat') return refused('train', [value], code, text);
    const { index } = filled(description);
    index.resetSync();
    expect(() => index.trainSync(value)).toThrowError(error(code, text));
    await expect(index.train(value)).rejects.toThrowError(error(code, text));
    expect(index.isTrained).toBe(true);
  });

  it.each(ids)('ids: %s', async (_, value, code, text) => {
    await refused('add', [x, value], code, text);
    for (const method of ['remove', 'reconstruct', 'reconstructBatch']) await refused(method, [value], code, text);
  });

  it('as many ids as vectors', async () => {
    await refused('add', [known, [1, 2]], wrong, '`ids` must be as many as the vectors, 40, got 2');
    await refused('add', [x, [1, 2]], wrong, 'got 2');
    await refused('add', [x, []], wrong, 'got 0');
  });

  it.each(searches)('search: %s', async (_, args, code, text) => {
    if (args.length < 3 || description === 'IDMap2,Flat') await refused('search', args, code, text);
  });

  it('rangeSearch', async () => {
    await refused('rangeSearch', [x], wrong, '`radius` must be a finite number, got undefined');
    await refused('rangeSearch', [x, NaN], wrong, 'got NaN');
    await refused('rangeSearch', [x, Infinity], wrong, 'got Infinity');
    await refused('rangeSearch', [x, 1, null], wrong, '`options`');
    await refused('rangeSearch', [x, 1, { filter: 5 }], wrong, '`filter`');
    if (description === 'HNSW8') await refused('rangeSearch', [x, 1], 'ERR_UNSUPPORTED', 'an IndexHNSWFlat has no range search');
  });

  it('get and set', async () => {
    await refused('get', [], wrong, '`name` must be a string, got undefined');
    await refused('get', ['nothing'], 'ERR_UNKNOWN_PARAMETER', '`nothing` is no parameter of an Index');
    await refused('set', ['nothing', 1], 'ERR_UNKNOWN_PARAMETER', description === 'HNSW8' ? 'which has efSearch, efConstruction' : description === 'IVF2,Flat' ? 'which has nprobe, max_codes' : 'which has none');
    await refused('set', ['nprobe', '4'], wrong, "`value` must be a finite number, got '4'");
    if (description !== 'IVF2,Flat') return;
    for (const value of [0, -1, 1.5, 3, 1e300]) await refused('set', ['nprobe', value], wrong, '`nprobe` must be a whole number from 1 to 2, got ');
    await refused('search', [x, 1, { params: { nprobe: 3 } }], wrong, '`nprobe`');
    await refused('search', [x, 1, { params: { nprobe: 2, ef: 3 } }], 'ERR_UNKNOWN_PARAMETER', '`ef`'); // and nprobe is what it was
  });

  it('save', async () => {
    await refused('save', [], wrong, '`path` must be a string');
    await refused('save', ['a\0b'], wrong, 'null character');
    await refused('save', [join(folder, 'no', 'such', 'folder')], 'ERR_FILE_WRITE', 'folder');
    await refused('save', [folder], 'ERR_FILE_WRITE', folder);
  });

  it('mergeFrom', async () => {
    await refused('mergeFrom', [], wrong, '`other` must be an Index, got undefined');
    await refused('mergeFrom', [{}], wrong, '`other` must be an Index, got object');
    await refused('mergeFrom', [BinaryIndex.factory(64, 'BFlat')], wrong, '`other`');
    await refused('mergeFrom', [Index.factory(9, description)], 'ERR_INCOMPATIBLE_INDEX', 'dimensions differ');
    await refused('mergeFrom', [Index.factory(8, description, { metric: 'ip' })], 'ERR_INCOMPATIBLE_INDEX', 'metrics differ');
    await refused('mergeFrom', [Index.factory(8, 'SQ8')], 'ERR_INCOMPATIBLE_INDEX', 'one is an ');
    await refused('mergeFrom', [filled(description).index, null], wrong, '`options`');
    await refused('mergeFrom', [filled(description).index, { addId: -1 }], 'ERR_INVALID_ID', '`addId`');
    if (description === 'IVF2,Flat') await refused('mergeFrom', [Index.factory(8, description)], 'ERR_NOT_TRAINED', 'trained');
    if (description !== 'HNSW8') await refused('mergeFrom', [filled(description).index], 'ERR_DUPLICATE_ID', 'is known already');
    const { index, intact } = filled(description);
    expect(() => index.mergeFromSync(index)).toThrowError(error(wrong, 'got the index itself'));
    await expect(index.mergeFrom(index)).rejects.toThrowError(error(wrong, 'got the index itself'));
    const closed = Index.factory(8, description);
    await closed.close();
    await expect(index.mergeFrom(closed)).rejects.toThrowError(error('ERR_CLOSED'));
    intact();
  });

  it('options of train, add and save', async () => {
    const { index, intact } = filled(description);
    for (const options of [null, 'x', { onProgress: 5 }, { onProgress: null }]) {
      const text = typeof options === 'object' && options !== null ? '`onProgress` must be a function' : '`options` must be an object';
      await expect(index.train(known, options)).rejects.toThrowError(error(wrong, text));
      await expect(index.add(x, [50], options)).rejects.toThrowError(error(wrong, text));
      await expect(index.save(join(folder, 'never'), options)).rejects.toThrowError(error(wrong, text));
    }
    for (const signal of [null, {}, 'now']) await expect(index.search(x, 1, { signal })).rejects.toThrowError(error(wrong, '`signal` must be an AbortSignal'));
    intact();
  });
});

describe('what an index is not ready for', () => {
  it('before it is trained', async () => {
    const index = Index.factory(8, 'IVF2,Flat');
    expect(index.isTrained).toBe(false);
    const untrained = error('ERR_NOT_TRAINED', 'an IndexIVFFlat must be trained before it can');
    await expect(index.add(x)).rejects.toThrowError(untrained);
    await expect(index.search(x, 1)).rejects.toThrowError(untrained);
    await expect(index.rangeSearch(x, 1)).rejects.toThrowError(untrained);
    await expect(index.reconstruct(0)).rejects.toThrowError(untrained);
    await expect(index.train(x)).rejects.toThrowError(error('ERR_FAISS', 'IndexIVFFlat')); // one vector for two lists
    expect(index.isTrained).toBe(false);
    await index.train(known);
    await index.add(known);
    expect(index.ntotal).toBe(40);
  });

  it('training again while it has vectors', async () => {
    const { index, intact } = filled('IVF2,Flat');
    await expect(index.train(known)).rejects.toThrowError(error('ERR_NOT_EMPTY', 'its 10 vectors'));
    intact();
    await index.reset();
    await index.train(known);
    expect(index.isTrained).toBe(true);
  });

  it('ids where the type numbers by position, none where it does not', async () => {
    const flat = Index.factory(8, 'Flat');
    await expect(flat.add(x, [5])).rejects.toThrowError(error('ERR_UNSUPPORTED', "Put 'IDMap2,' before"));
    expect(flat.ntotal).toBe(0);
    const { index, intact } = filled('IDMap2,Flat');
    await expect(index.add(x)).rejects.toThrowError(error(wrong, '`ids` must be given'));
    intact();
  });

  it('any use after close', async () => {
    const { index } = filled();
    const closed = error('ERR_CLOSED', 'closed');
    await index.close();
    const calls: [string, unknown[]][] = [
      ['train', [x]], ['add', [x, [1]]], ['search', [x, 1]], ['rangeSearch', [x, 1]], ['remove', [1]], ['reconstruct', [10]], ['reconstructBatch', [[10]]],
      ['mergeFrom', [filled().index]], ['reset', []], ['get', ['nprobe']], ['set', ['nprobe', 1]], ['describe', []], ['save', [join(folder, 'closed')]], ['toBuffer', []],
    ];
    for (const [method, args] of calls) {
      await expect(index[method](...args)).rejects.toThrowError(closed);
      expect(() => index[`${method}Sync`](...args)).toThrowError(closed);
    }
    await expect(index.close()).rejects.toThrowError(closed);
    expect(() => index.share()).toThrowError(closed);
    expect(index).toMatchObject({ ntotal: 0, queue: 0, dimension: 8, metric: 'l2' });
  });
});
