import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type * as FaissNode from 'faiss-vision/faiss-node';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Registry } from './fixtures/models/registry';
import { flatFile, hnswFile, ivfFile } from './support/faiss-node-files';
import { type Missing, faissNodeTests, langChain, packAlias, pythonWithFaiss, remove, root } from './support/faiss-node-packages';
import { seeded } from './support/vectors';

// Through Node itself, as LangChain gets it: vitest would load the package a second time.
const drop: typeof FaissNode = createRequire(import.meta.url)('faiss-vision/faiss-node');
const { Index, IndexFlatIP, IndexFlatL2, MetricType } = drop;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'faiss-node-'));
});
afterAll(() => remove(folder));

const POINTS = [1, 0, 1, 2, 1, 3, 1, 1];
const points = () => {
  const index = new IndexFlatL2(2);
  index.add(POINTS);
  return index;
};

const own = await faissNodeTests();
describe("faiss-node 0.5.1's own tests", () => {
  if ('missing' in own) {
    it('pass unchanged', (context) => context.skip(own.missing));
    return;
  }
  // They write into the working folder.
  const before = process.cwd();
  beforeAll(() => process.chdir(own.folder));
  afterAll(() => {
    process.chdir(before);
    remove(own.folder);
  });
  Object.assign(globalThis, { describe, it, expect, beforeAll, beforeEach });
  for (const file of own.files) createRequire(file)(file);
});

describe('what faiss-node takes and gives', () => {
  it.each([
    ['new Index without a dimension', () => new (Index as unknown as new () => unknown)(), 'Invalid the first argument type, must be a number.'],
    ['new IndexFlatIP of a string', () => new IndexFlatIP('2' as never), 'Invalid the first argument type, must be a number.'],
    ['read of a number', () => Index.read(1 as never), 'Invalid the first argument type, must be a string.'],
    ['fromBuffer of an array', () => Index.fromBuffer([1] as never), 'Invalid the first argument type, must be a buffer.'],
    ['fromFactory of a string', () => Index.fromFactory('2' as never, 'Flat'), 'Invalid the first argument type, must be a number.'],
    ['fromFactory without a description', () => Index.fromFactory(2, 3 as never), 'Invalid the second argument type, must be a string.'],
    ['add of a Float32Array', () => points().add(Float32Array.of(1, 2) as never), 'Invalid the first argument type, must be an Array.'],
    ['train of an object', () => points().train({} as never), 'Invalid the first argument type, must be an Array.'],
    ['search of a Float32Array', () => points().search(Float32Array.of(1, 2) as never, 1), 'Invalid the first argument type, must be an Array.'],
    ['search for a bigint', () => points().search([1, 2], 1n as never), 'Invalid the second argument type, must be a Number.'],
    ['write to a number', () => points().write(1 as never), 'Invalid the first argument type, must be a string.'],
    ['mergeFrom null', () => points().mergeFrom(null as never), 'Invalid argument type, must be an object.'],
    ['removeIds of a number', () => points().removeIds(1 as never), 'Invalid the first argument type, must be an Array.'],
  ])('%s is a TypeError', (_, call, message) => {
    expect(call).toThrow(TypeError);
    expect(call).toThrow(expect.objectContaining({ message, code: 'ERR_INVALID_ARGUMENT' }));
  });

  const many = (call: (...args: never[]) => unknown, ...args: unknown[]) => call(...(args as never[]));
  it.each([
    ['read', () => many(Index.read), 'Expected 1 argument, but got 0.', 'ERR_INVALID_ARGUMENT'],
    ['IndexFlatIP.read', () => many(IndexFlatIP.read, 'a', 'b'), 'Expected 1 argument, but got 2.', 'ERR_INVALID_ARGUMENT'],
    ['fromBuffer', () => many(IndexFlatL2.fromBuffer), 'Expected 1 argument, but got 0.', 'ERR_INVALID_ARGUMENT'],
    ['fromFactory', () => many(Index.fromFactory, 2), 'Expected 2 or 3 arguments, but got 1.', 'ERR_INVALID_ARGUMENT'],
    ['train', () => many(points().train), 'Expected 1 argument, but got 0.', 'ERR_INVALID_ARGUMENT'],
    ['write', () => many(points().write), 'Expected 1 argument, but got 0.', 'ERR_INVALID_ARGUMENT'],
    ['toBuffer', () => many(points().toBuffer, 1), 'Expected 0 arguments, but got 1.', 'ERR_INVALID_ARGUMENT'],
    ['train, length', () => points().train([1]), 'Invalid the given array length.', 'ERR_DIMENSION_MISMATCH'],
    ['train, hole', () => points().train(new Array(2)), 'Expected a Number as array item. (at: 0)', 'ERR_INVALID_ARGUMENT'],
    ['k below 0', () => points().search([1, 2], -1), 'Invalid the number of k (cannot be given a value greater than `ntotal`: 4).', 'ERR_INVALID_ARGUMENT'],
    ['k of NaN', () => points().search([1, 2], NaN), 'Invalid the number of k (cannot be given a value greater than `ntotal`: 4).', 'ERR_INVALID_ARGUMENT'],
    ['k before the length', () => points().search([1], 5), 'Invalid the number of k (cannot be given a value greater than `ntotal`: 4).', 'ERR_INVALID_ARGUMENT'],
    ['another dimension', () => points().mergeFrom(new Index(3)), 'The merging index must have the same dimension.', 'ERR_DIMENSION_MISMATCH'],
  ])('%s is an Error with its message', (_, call, message, code) => {
    expect(call).toThrow(expect.objectContaining({ message, code }));
    expect(call).not.toThrow(TypeError);
  });

  it('gives plain arrays, and a Buffer', () => {
    const { distances, labels } = points().search([1, 0, 1, 3], 2);
    expect([distances, labels]).toEqual([[0, 1, 0, 1], [0, 3, 2, 1]]);
    expect([distances, labels].every(Array.isArray)).toBe(true);
    expect(Buffer.isBuffer(points().toBuffer())).toBe(true);
    expect(points().search([], 2)).toEqual({ distances: [], labels: [] });
    expect(points().search([1, 0], 0)).toEqual({ distances: [], labels: [] });
    expect(points().search([1, 0], 1.9).labels).toEqual([0]);
    points().add([]);
    expect(points().removeIds([-1, 2 ** 60, 1e30, 1.5, 1])).toBe(1);
  });

  it('gives the class that was asked for', () => {
    expect(points()).toBeInstanceOf(Index);
    const buffer = points().toBuffer();
    for (const Kind of [Index, IndexFlatL2, IndexFlatIP]) {
      const index = Kind.fromBuffer(buffer);
      expect(index.constructor).toBe(Kind);
      expect(index.search([1, 3], 1)).toEqual({ distances: [0], labels: [2] });
    }
    const flat = new Index(2);
    flat.add(POINTS);
    expect(flat.search([1, 0], 4)).toEqual({ distances: [0, 1, 4, 9], labels: [0, 3, 1, 2] });
    const ip = new IndexFlatIP(2);
    ip.add(POINTS);
    expect(ip.search([0, 2], 2)).toEqual({ distances: [6, 4], labels: [2, 1] });
  });

  it('takes any view as a buffer', () => {
    const bytes = points().toBuffer();
    const larger = Buffer.concat([Buffer.alloc(3), bytes, Buffer.alloc(5)]);
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
    shared.set(bytes);
    for (const view of [new DataView(larger.buffer, larger.byteOffset + 3, bytes.length), larger.subarray(3, 3 + bytes.length), shared]) {
      expect(Index.fromBuffer(view as Uint8Array).ntotal()).toBe(4);
    }
  });

  it('merges, and leaves the other empty', () => {
    const [a, b] = [points(), points()];
    a.mergeFrom(b);
    expect([a.ntotal(), b.ntotal()]).toEqual([8, 0]);
    expect(a.search([1, 3], 2)).toEqual({ distances: [0, 0], labels: expect.arrayContaining([2, 6]) });
  });

  it('numbers the metrics as FAISS does, and computes those it has', () => {
    expect(MetricType).toEqual({
      METRIC_INNER_PRODUCT: 0, METRIC_L2: 1, METRIC_L1: 2, METRIC_Linf: 3, METRIC_Lp: 4,
      METRIC_Canberra: 20, METRIC_BrayCurtis: 21, METRIC_JensenShannon: 22, METRIC_Jaccard: 23,
      0: 'METRIC_INNER_PRODUCT', 1: 'METRIC_L2', 2: 'METRIC_L1', 3: 'METRIC_Linf', 4: 'METRIC_Lp',
      20: 'METRIC_Canberra', 21: 'METRIC_BrayCurtis', 22: 'METRIC_JensenShannon', 23: 'METRIC_Jaccard',
    });
    const halves = (p: number, q: number) => (m: number) => 0.5 * (p * Math.log(p / m) + q * Math.log(q / m));
    const expected = { METRIC_INNER_PRODUCT: 0.6 * 0.1 + 0.4 * 0.9, METRIC_L2: 0.5, METRIC_L1: 1, METRIC_Linf: 0.5, METRIC_Canberra: 0.5 / 0.7 + 0.5 / 1.3, METRIC_BrayCurtis: 0.5,
      METRIC_JensenShannon: halves(0.6, 0.1)(0.35) + halves(0.4, 0.9)(0.65) };
    for (const [name, distance] of Object.entries(expected)) {
      const index = Index.fromFactory(2, 'Flat', MetricType[name as keyof typeof MetricType]);
      index.add([0.6, 0.4]);
      expect(index.search([0.1, 0.9], 1).distances[0], name).toBeCloseTo(distance, 5);
    }
    for (const metric of [MetricType.METRIC_Lp, MetricType.METRIC_Jaccard]) {
      expect(() => Index.fromFactory(2, 'Flat', metric)).toThrow(expect.objectContaining({ code: 'ERR_UNSUPPORTED', message: expect.stringContaining(MetricType[metric]!) }));
    }
    expect(() => Index.fromFactory(2, 'Flat', 7 as never)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
  });

  it('ends no process where faiss-node ends it', () => {
    const ivf = Index.fromFactory(2, 'IVF2,Flat');
    const hnsw = Index.fromFactory(2, 'HNSW8');
    hnsw.add(POINTS);
    expect(ivf.isTrained()).toBe(false);
    expect(() => ivf.add([1, 2])).toThrow(expect.objectContaining({ code: 'ERR_NOT_TRAINED' }));
    expect(() => ivf.train([])).toThrow(expect.objectContaining({ code: 'ERR_EMPTY_INPUT' }));
    expect(() => hnsw.removeIds([0])).toThrow(expect.objectContaining({ code: 'ERR_UNSUPPORTED' }));
    expect(() => hnsw.mergeFrom(points())).toThrow(expect.objectContaining({ code: 'ERR_INCOMPATIBLE_INDEX' }));
    expect(() => points().write(join(folder, 'none/index'))).toThrow(expect.objectContaining({ code: 'ERR_FILE_WRITE' }));
    expect(() => new Index(0)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
    expect(() => points().add([NaN, 1])).toThrow(expect.objectContaining({ code: 'ERR_NOT_FINITE' }));
    expect(() => points().removeIds([NaN])).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ID' }));
    expect(() => Index.fromFactory(2, 'Nothing')).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT' }));
  });
});

describe("FAISS's files", () => {
  it('come out byte by byte, with our checksum behind', () => {
    const l2 = flatFile(2, POINTS);
    expect(points().toBuffer().subarray(0, l2.length)).toEqual(l2);
    const ip = new IndexFlatIP(2);
    ip.add(POINTS);
    const path = join(folder, 'ip.index');
    ip.write(path);
    const expected = flatFile(2, POINTS, 'ip');
    expect(readFileSync(path).subarray(0, expected.length)).toEqual(expected);
  });

  const lists = [
    { ids: [0, 3], vectors: [1, 0, 1, 1] },
    { ids: [1, 2], vectors: [1, 2, 1, 3] },
  ];
  it.each([
    ['flat, L2', flatFile(2, POINTS), [0, 3, 1, 2], [0.0625, 0.5625, 3.0625, 7.5625]],
    ['flat, inner product', flatFile(2, POINTS, 'ip'), [2, 1, 3, 0], [1.75, 1.5, 1.25, 1]],
    ['HNSW', hnswFile(2, POINTS, 4), [0, 3, 1, 2], [0.0625, 0.5625, 3.0625, 7.5625]],
    // One list is looked through; FAISS fills up with the largest float.
    ['IVF', ivfFile(2, [1, 0, 1, 3], lists), [0, 3, -1, -1], [0.0625, 0.5625, 3.4028234663852886e38, 3.4028234663852886e38]],
  ])('come in: %s', (_, bytes, labels, distances) => {
    const path = join(folder, 'foreign.index');
    writeFileSync(path, bytes);
    for (const index of [Index.fromBuffer(bytes), IndexFlatL2.read(path)]) {
      expect([index.ntotal(), index.getDimension(), index.isTrained()]).toEqual([4, 2, true]);
      expect(index.search([1, 0.25], 4)).toEqual({ distances, labels });
      expect(Index.fromBuffer(index.toBuffer()).search([1, 0.25], 4)).toEqual({ distances, labels });
    }
  });

  it('are refused where they are damaged', () => {
    const bytes = flatFile(2, POINTS);
    expect(() => Index.fromBuffer(bytes.subarray(0, 60))).toThrow(expect.objectContaining({ code: 'ERR_INDEX_CORRUPT' }));
    const changed = points().toBuffer();
    changed[70]! ^= 1;
    expect(() => Index.fromBuffer(changed)).toThrow(expect.objectContaining({ code: 'ERR_INDEX_CORRUPT' }));
    expect(() => IndexFlatL2.read(join(folder, 'none'))).toThrow(
      expect.objectContaining({ code: 'ERR_FILE_NOT_FOUND', message: `Error: could not open ${join(folder, 'none')} for reading: No such file or directory` }),
    );
  });

  it("go to Python's faiss and back", (context) => {
    const python = pythonWithFaiss();
    if (python === undefined) return context.skip('no Python with faiss: pip install faiss-cpu, or npm run bench:search, which makes one');
    const [d, k] = [16, 10];
    const vectors = seeded(700 * d, 21);
    const queries = seeded(20 * d, 22);
    writeFileSync(join(folder, 'vectors'), vectors);
    writeFileSync(join(folder, 'queries'), queries);
    const { METRIC_L2, METRIC_INNER_PRODUCT, METRIC_L1 } = MetricType;
    const indexes: [string, FaissNode.MetricType][] = [
      ['Flat', METRIC_L2], ['Flat', METRIC_INNER_PRODUCT], ['Flat', METRIC_L1], ['HNSW16', METRIC_L2], ['IVF8,Flat', METRIC_L2],
      ['IVF8,Flat', METRIC_INNER_PRODUCT], ['IVF4,PQ4x4', METRIC_L2], ['PQ4x4', METRIC_L2], ['SQ8', METRIC_L2], ['PCA8,Flat', METRIC_L2],
    ];
    const ours = indexes.map(([description, metric], i) => {
      const index = Index.fromFactory(d, description, metric);
      index.train([...vectors]);
      index.add([...vectors]);
      index.write(join(folder, `${i}.ours`));
      return index.search([...queries], k);
    });
    const output = execFileSync(python, [join(__dirname, 'support/faiss-node-python.py')], { input: JSON.stringify({ folder, d, k, indexes }), encoding: 'utf8', env: { ...process.env, OMP_NUM_THREADS: '1' } });
    const answers = JSON.parse(output) as { type: string; ours: typeof ours[number]; python: typeof ours[number] }[];
    const same = (a: typeof ours[number], b: typeof ours[number], name: string) => {
      expect(a.labels.length, name).toBe(20 * k);
      a.distances.forEach((distance, i) => expect(distance, name).toBeCloseTo(b.distances[i]!, 3));
      // Codes give equal distances to different vectors, in either order.
      const equal = a.labels.filter((label, i) => label === b.labels[i]).length;
      expect(equal, name).toBeGreaterThan(a.labels.length * (/PQ/.test(name) ? 0.5 : 0.99));
    };
    answers.forEach((answer, i) => {
      const name = `${indexes[i]![0]} by ${MetricType[indexes[i]![1]]}`;
      same(ours[i]!, answer.ours, `${name}, read by Python as ${answer.type}`);
      same(Index.read(join(folder, `${i}.python`)).search([...queries], k), answer.python, `${name}, read from Python`);
    });
  });
});

describe('under the name faiss-node', () => {
  it('is there through an npm alias, for CommonJS, ECMAScript modules and TypeScript', async () => {
    const project = join(folder, 'project');
    mkdirSync(project);
    const registry = await Registry.start();
    try {
      const archive = packAlias(folder);
      registry.publish('faiss-vision-faiss-node', '0.5.1', archive);
      writeFileSync(join(project, 'package.json'), '{ "private": true }');
      const env = { ...process.env, ...registry.environment(folder) };
      const args = ['install', `file:${root}`, 'faiss-node@npm:faiss-vision-faiss-node@0.5.1', '--no-audit', '--no-fund'];
      await promisify(execFile)('npm', args, { cwd: project, env }); // not ...Sync: the registry answers from here
    } finally {
      await registry.close();
    }
    expect(JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')).dependencies['faiss-node']).toBe('npm:faiss-vision-faiss-node@^0.5.1');

    const run = (...args: string[]) => execFileSync(process.execPath, args, { cwd: project, encoding: 'utf8' }).trim();
    const use = 'const index = new IndexFlatL2(2); index.add([1, 2, 3, 4]); console.log(JSON.stringify(index.search([3, 3], 1)))';
    const found = '{"distances":[1],"labels":[1]}';
    expect(run('-e', `const { IndexFlatL2 } = require('faiss-node'); ${use}`)).toBe(found);
    expect(run('--input-type=module', '-e', `import { IndexFlatL2 } from 'faiss-node'; ${use}`)).toBe(found);
    expect(run('--input-type=module', '-e', `const { default: { IndexFlatL2 } } = await import('faiss-node'); ${use}`)).toBe(found);

    const source = `import faissNode, { Index, IndexFlatL2, MetricType, type SearchResult } from 'faiss-node';
      const index: Index = IndexFlatL2.fromBuffer(new faissNode.IndexFlatL2(2).toBuffer());
      const found: SearchResult = index.search([1, 2], 0);
      export const distances: number[] = found.distances, metric: MetricType = MetricType.METRIC_L2;
      // @ts-expect-error a method there, a getter of this package's own Index
      export const size: number = index.ntotal;`;
    for (const file of ['use.cts', 'use.mts']) writeFileSync(join(project, file), source);
    const types = join(root, 'node_modules/@types');
    run(join(root, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--module', 'node20', '--typeRoots', types, '--types', 'node', 'use.cts', 'use.mts');
  });

  it('gives the same as a default export, whichever format asks', () => {
    const names = ['Index', 'IndexFlatIP', 'IndexFlatL2', 'MetricType'];
    expect(Object.keys(drop).sort()).toEqual([...names, 'default']);
    expect(Object.keys(drop.default).sort()).toEqual(names);
    const code = `import { createRequire } from 'node:module'; import * as all from 'faiss-vision/faiss-node';
      const cjs = createRequire(process.cwd() + '/')('faiss-vision/faiss-node');
      console.log(${JSON.stringify(names)}.every((name) => all[name] !== undefined && [all.default, cjs, cjs.default].every((other) => other[name] === all[name])))`;
    expect(execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: root, encoding: 'utf8' }).trim()).toBe('true');
  });
});

describe("LangChain's FaissStore", () => {
  interface Document {
    pageContent: string;
    metadata: Record<string, unknown>;
  }
  interface Store {
    index: FaissNode.Index;
    similaritySearchWithScore(text: string, k: number): Promise<[Document, number][]>;
    similaritySearch(text: string, k: number): Promise<Document[]>;
    addDocuments(documents: Document[], options?: { ids: string[] }): Promise<string[]>;
    delete(options: { ids: string[] }): Promise<void>;
    save(folder: string): Promise<void>;
    mergeFrom(other: Store): Promise<string[]>;
  }
  interface StoreClass {
    fromTexts(texts: string[], metadatas: object[], embeddings: object): Promise<Store>;
    fromIndex(other: Store, embeddings: object): Promise<Store>;
    load(folder: string, embeddings: object): Promise<Store>;
  }

  /** How often each letter occurs: distances are whole numbers. */
  const embedQuery = async (text: string) => Array.from({ length: 26 }, (_, i) => text.split(String.fromCharCode(97 + i)).length - 1);
  const embeddings = { embedQuery, embedDocuments: (texts: string[]) => Promise.all(texts.map(embedQuery)) };
  const distance = async (a: string, b: string) => {
    const [x, y] = await embeddings.embedDocuments([a, b]);
    return x!.reduce((sum, value, i) => sum + (value - y![i]!) ** 2, 0);
  };

  const TEXTS = ['aaa', 'aab', 'bbbbb', 'hello world'];
  const document = (pageContent: string): Document => ({ pageContent, metadata: { from: 'added' } });
  const texts = async (store: Store, query: string, k: number) => (await store.similaritySearch(query, k)).map(({ pageContent }) => pageContent);
  let found: NodeJS.Require | Missing;
  let FaissStore: StoreClass;
  let store: Store;
  beforeAll(async () => {
    found = await langChain();
    if (!('missing' in found)) ({ FaissStore } = found('@langchain/community/vectorstores/faiss') as { FaissStore: StoreClass });
  }, 300_000);
  beforeEach(async (context) => {
    if ('missing' in found) return context.skip(found.missing);
    store = await FaissStore.fromTexts(TEXTS, TEXTS.map((_, i) => ({ i })), embeddings);
    expect(store.index).toBeInstanceOf(IndexFlatL2);
  });

  it('finds texts with their scores', async () => {
    const nearest = await store.similaritySearchWithScore('abb', 4);
    const expected = await Promise.all(['aab', 'aaa', 'bbbbb', 'hello world'].map(async (text) => [text, await distance('abb', text)]));
    expected.sort((a, b) => (a[1] as number) - (b[1] as number));
    expect(nearest.map(([{ pageContent }, score]) => [pageContent, score])).toEqual(expected);
    expect(nearest[0]![0].metadata).toEqual({ i: 1 });
    expect(await texts(store, 'hello', 1)).toEqual(['hello world']);
    expect(await texts(store, 'hello', 9)).toHaveLength(4); // LangChain cuts k to ntotal()
  });

  it('adds and deletes documents', async () => {
    expect(await store.addDocuments([document('cccc'), document('zz')], { ids: ['c', 'z'] })).toEqual(['c', 'z']);
    expect(await texts(store, 'ccc', 1)).toEqual(['cccc']);
    await store.delete({ ids: ['c'] });
    expect(await texts(store, 'ccc', 9)).not.toContain('cccc');
    expect(await texts(store, 'z', 1)).toEqual(['zz']);
    await expect(store.delete({ ids: ['c'] })).rejects.toThrow('do not exist');
  });

  it('finds nothing once everything is deleted', async () => {
    const one = await FaissStore.fromTexts([], [], embeddings);
    await one.addDocuments([document('a')], { ids: ['a'] });
    await one.delete({ ids: ['a'] });
    expect(await texts(one, 'a', 2)).toEqual([]);
  });

  it('saves and loads', async () => {
    const saved = join(folder, 'store');
    await store.save(saved);
    const index = readFileSync(join(saved, 'faiss.index'));
    const vectors = (await embeddings.embedDocuments(TEXTS)).flat();
    expect(index.subarray(0, index.length - 32)).toEqual(flatFile(26, vectors));
    const loaded = await FaissStore.load(saved, embeddings);
    expect(await loaded.similaritySearchWithScore('abb', 4)).toEqual(await store.similaritySearchWithScore('abb', 4));

    writeFileSync(join(saved, 'faiss.index'), flatFile(26, vectors)); // as faiss-node saves it
    expect(await (await FaissStore.load(saved, embeddings)).similaritySearchWithScore('abb', 4)).toEqual(await store.similaritySearchWithScore('abb', 4));
  });

  it('merges stores', async () => {
    const other = await FaissStore.fromTexts(['xyz'], [{}], embeddings);
    await store.mergeFrom(other);
    expect(store.index.ntotal()).toBe(5);
    expect(await texts(store, 'xyz', 1)).toEqual(['xyz']);
    expect(await texts(store, 'hello', 1)).toEqual(['hello world']);
    const copy = await FaissStore.fromIndex(store, embeddings);
    expect(copy.index.ntotal()).toBe(5);
    expect(await texts(copy, 'xyz', 1)).toEqual(['xyz']);
  });
});
