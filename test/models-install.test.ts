import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import type { Output, SourcePackage } from '../lib/models/manifest';
import { ensureOutputs } from '../lib/models/outputs';
import type { Progress } from '../lib/models/progress';
import { decodeSafetensors } from '../lib/models/safetensors';
import { compileModels, startEnsure } from './fixtures/models/child';
import { type Answer, Registry, makeNpmArchive, makeSdist, makeWheel, writeFiles } from './fixtures/models/registry';
import { until } from './support/wait';

// The pauses between tries and between looks at a lock are for networks and other processes; here they would only add up.
vi.mock(import('node:timers/promises'), async (importOriginal) => {
  const original = await importOriginal();
  return { ...original, setTimeout: ((ms: number) => original.setTimeout(Math.min(ms, 20))) as typeof original.setTimeout };
});

// Made once: three tiny packages with files of the real kinds.
let shared: string;
let compiled: string;
let npmArchive: string;
let wheel: string;
let sdist: string;
let marker: string;
let npmPackage: SourcePackage;
let wheelPackage: SourcePackage;
let sdistPackage: SourcePackage;

const WEIGHTS = Uint8Array.from({ length: 6 }, (_, i) => i * 50);
const WEIGHTS_MANIFEST = JSON.stringify([
  { weights: [{ name: 'fc', shape: [2, 3], dtype: 'float32', quantization: { dtype: 'uint8', scale: 0.5, min: -3 } }] },
]);
const FC = Array.from(WEIGHTS, (byte) => byte * 0.5 - 3);
// Long enough, and random enough, that half of the archive is a good part of it.
const PICTURE = createHash('sha512').update('picture').digest();

const sha256 = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const pinned = (path: string, bytes: Uint8Array) => ({ path, size: bytes.length, sha256: sha256(bytes) });

const TINY_NPM: Output = {
  file: 'tiny.safetensors',
  recipe: { from: 'tfjs', package: 'tiny-npm', model: 'tiny', manifest: 'model/weights.json', weights: 'model/w.bin' },
};
const TINY_TORCH: Output = {
  file: 'torch.safetensors',
  recipe: { from: 'torch', package: 'tiny_torch', model: 'torch', stateDicts: [{ prefix: 'net.', path: 'data/net.pt' }] },
};
const PHOTO: Output = { file: 'album/picture.jpg', recipe: { from: 'file', package: 'tiny-npm', path: 'pictures/picture.jpg' } };
const SDIST_PHOTO: Output = { file: 'picture.jpg', recipe: { from: 'file', package: 'tiny_sdist', path: 'tests/picture.jpg' } };

beforeAll(() => {
  shared = mkdtempSync(join(tmpdir(), 'install-shared-'));
  compiled = join(shared, 'compiled');
  compileModels(compiled);
  marker = join(shared, 'set-up-code-ran');

  const model = { 'model/weights.json': WEIGHTS_MANIFEST, 'model/w.bin': WEIGHTS };
  npmArchive = makeNpmArchive(shared, 'tiny-npm', '1.2.3', { ...model, 'pictures/picture.jpg': PICTURE });
  const files = Object.entries(model).map(([path, content]) => pinned(path, Buffer.from(content)));
  npmPackage = { client: 'npm', name: 'tiny-npm', version: '1.2.3', license: 'MIT', files: [...files, pinned('pictures/picture.jpg', PICTURE)] };

  execFileSync('python3', [join(__dirname, 'fixtures', 'models', 'torch_files.py'), shared, marker]);
  const stateDict = readFileSync(join(shared, 'legacy.pt'));
  wheel = makeWheel(shared, 'tiny_torch', '2.0', { 'data/net.pt': stateDict });
  wheelPackage = {
    client: 'pip',
    archive: 'wheel',
    archiveSha256: sha256(readFileSync(wheel)),
    name: 'tiny_torch',
    version: '2.0',
    license: 'MIT',
    files: [pinned('data/net.pt', stateDict)],
  };

  sdist = makeSdist(shared, 'tiny_sdist', '0.1', marker, { 'tests/picture.jpg': PICTURE });
  sdistPackage = {
    client: 'pip',
    archive: 'sdist',
    archiveSha256: sha256(readFileSync(sdist)),
    name: 'tiny_sdist',
    version: '0.1',
    license: 'MIT',
    files: [pinned('tests/picture.jpg', PICTURE)],
  };
});
afterAll(() => rmSync(shared, { recursive: true }));

let registry: Registry;
let root: string;
let folder: string;
let downloads: string;
let environment: Record<string, string>;
let steps: Progress[];

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'install-'));
  folder = join(root, 'models');
  downloads = join(root, 'downloads');
  steps = [];
  registry = await Registry.start();
  registry.publish('tiny-npm', '1.2.3', npmArchive);
  registry.publish('tiny-torch', '2.0', wheel);
  registry.publish('tiny-sdist', '0.1', sdist);
  environment = registry.environment(root);
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await registry.close();
  rmSync(root, { recursive: true, maxRetries: 5 });
  rmSync(marker, { force: true });
});

const packages = (): SourcePackage[] => [npmPackage, wheelPackage, sdistPackage];
const ensure = (outputs: Output[], changed: Partial<{ packages: SourcePackage[] }> = {}): Promise<void> =>
  ensureOutputs({ outputs, packages: packages(), folder, downloads, onProgress: (progress) => steps.push(progress), ...changed });
const named = (step: Progress['step']): Progress[] => steps.filter((progress) => progress.step === step);

function expectWhole(output: Output): void {
  const bytes = readFileSync(join(folder, output.file));
  if (output === TINY_NPM) {
    const { tensors, metadata } = decodeSafetensors(bytes);
    expect(metadata).toEqual({ format: 'faiss-vision', model: 'tiny', source: 'tiny-npm 1.2.3', license: 'MIT' });
    expect([...new Float32Array(Uint8Array.from(tensors.get('fc')!.data).buffer)]).toEqual(FC);
  } else if (output === TINY_TORCH) {
    const { tensors } = decodeSafetensors(bytes);
    const expected: Record<string, { hex: string }> = JSON.parse(readFileSync(join(shared, 'expected.json'), 'utf8'));
    expect([...tensors.keys()].sort()).toEqual(Object.keys(expected).map((name) => `net.${name}`).sort());
    for (const [name, { hex }] of Object.entries(expected)) expect(Buffer.from(tensors.get(`net.${name}`)!.data).toString('hex')).toBe(hex);
  } else {
    expect(bytes).toEqual(PICTURE);
  }
}

/** Everything below the folders that is neither an output nor a pinned file nor a record: there must be nothing. */
function leftovers(): string[] {
  const inside = (from: string): string[] => (existsSync(from) ? readdirSync(from, { recursive: true }).map(String) : []);
  return [...inside(folder), ...inside(downloads)].filter((name) => /(^|\/)\.(unfinished-|lock$)/.test(name));
}

const CASES: [string, Output, string][] = [
  ['npm', TINY_NPM, 'tiny-npm 1.2.3'],
  ['pip, a wheel', TINY_TORCH, 'tiny_torch 2.0'],
  ['pip, a source archive', SDIST_PHOTO, 'tiny_sdist 0.1'],
];

test.each(CASES)('%s: fetched, converted, and nothing asked for the second time', async (_client, output, source) => {
  await ensure([output]);
  expectWhole(output);
  expect(steps[0]).toEqual({ step: 'download', file: source });
  expect(steps.at(-1)).toEqual({ step: 'write', file: output.file, done: 1, total: 1 });
  const asked = registry.requests;
  const written = statSync(join(folder, output.file), { bigint: true }).mtimeNs;
  steps = [];
  await ensure([output]);
  expect(steps).toEqual([]);
  expect(registry.requests).toBe(asked);
  expect(statSync(join(folder, output.file), { bigint: true }).mtimeNs).toBe(written);
  expect(leftovers()).toEqual([]);
});

test.each(CASES)('%s: a download that breaks off half-way is told and fetched again', async (_client, output, source) => {
  registry.answers = ['half'];
  await ensure([output]);
  expect(named('retry')).toEqual([{ step: 'retry', file: source, done: 1, total: 3, reason: expect.stringContaining(source) }]);
  expect(registry.requests).toBe(2);
  expectWhole(output);
  expect(leftovers()).toEqual([]);
});

test.each(CASES)('%s: an archive that was changed on its way is fetched again', async (client, output, source) => {
  registry.answers = ['changed'];
  await ensure([output]);
  expect(registry.requests).toBe(2);
  // npm holds what comes against the registry's own checksum and asks a second time by itself.
  expect(named('retry').map(({ reason }) => reason)).toEqual(client === 'npm' ? [] : [expect.stringContaining(source)]);
  expectWhole(output);
});

test.each([CASES[0]!, CASES[2]!])('%s: what never comes whole fails after three tries with what the client said', async (_client, output, source) => {
  registry.answers = Array<Answer>(20).fill('half');
  await expect(ensure([output])).rejects.toMatchObject({
    name: 'FaissVisionError',
    code: expect.stringMatching(/^ERR_MODEL_(DOWNLOAD|CHECKSUM)$/),
    message: expect.stringMatching(new RegExp(`gave up on ${source} after 3 tries: .*ended with 1.*\n.*\\S`, 's')),
  });
  expect(named('retry').map(({ done }) => done)).toEqual([1, 2]);
  expect(existsSync(join(folder, output.file))).toBe(false);
  expect(leftovers()).toEqual([]);
});

test('a file that is not the pinned one is named, with what was expected and what came', async () => {
  const [manifestFile, weights, picture] = npmPackage.files as [SourcePackage['files'][0], SourcePackage['files'][0], SourcePackage['files'][0]];
  const other = '0'.repeat(64);
  const check = (file: SourcePackage['files'][0]): Promise<void> =>
    ensure([TINY_NPM], { packages: [{ ...npmPackage, files: [manifestFile, file, picture] } as SourcePackage] });

  await expect(check({ ...weights, sha256: other })).rejects.toMatchObject({
    code: 'ERR_MODEL_CHECKSUM',
    message: `gave up on tiny-npm 1.2.3 after 3 tries: model/w.bin of tiny-npm 1.2.3: expected SHA-256 ${other}, got ${sha256(WEIGHTS)}`,
  });
  expect(named('retry')).toHaveLength(2);
  await expect(check({ ...weights, size: 7 })).rejects.toMatchObject({ message: expect.stringContaining('model/w.bin of tiny-npm 1.2.3: expected 7 bytes, got 6') });
  await expect(check({ ...weights, path: 'model/x.bin' })).rejects.toMatchObject({ message: expect.stringContaining('model/x.bin of tiny-npm 1.2.3: is missing') });
  expect(existsSync(join(folder, TINY_NPM.file))).toBe(false);
  expect(leftovers()).toEqual([]);
});

test('a source archive that is not the pinned one is refused before its set-up code runs', async () => {
  const other = { ...sdistPackage, archiveSha256: 'f'.repeat(64) } as SourcePackage;
  await expect(ensure([SDIST_PHOTO], { packages: [other] })).rejects.toMatchObject({
    code: 'ERR_MODEL_CHECKSUM',
    message: expect.stringMatching(/tiny_sdist.*f{64}.*Got/s),
  });
  expect(existsSync(marker)).toBe(false);
  // The pinned one does run it, so the check above can fail.
  await ensure([SDIST_PHOTO]);
  expect(existsSync(marker)).toBe(true);
});

test('a version that the registry does not have fails with the client’s words', async () => {
  const gone = { ...npmPackage, version: '9.9.9' } as SourcePackage;
  await expect(ensure([TINY_NPM], { packages: [gone] })).rejects.toMatchObject({
    code: 'ERR_MODEL_DOWNLOAD',
    message: expect.stringMatching(/npm could not fetch tiny-npm 9\.9\.9 .*ETARGET/s),
  });
});

test.each(CASES)('%s: a client that is not installed is named at once', async (_client, output) => {
  vi.stubEnv('PATH', join(root, 'nothing-here'));
  await expect(ensure([output])).rejects.toMatchObject({
    code: 'ERR_MODEL_DOWNLOAD',
    message: expect.stringMatching(/^(npm|python3) is needed to fetch packages and could not be started: .*ENOENT/),
  });
  expect(named('retry')).toEqual([]);
});

test('a python3 without pip is named at once, with the package that brings it', async () => {
  mkdirSync(join(root, 'bin'));
  writeFileSync(join(root, 'bin', 'python3'), '#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n', { mode: 0o755 });
  vi.stubEnv('PATH', `${join(root, 'bin')}:${process.env['PATH']}`);
  await expect(ensure([TINY_TORCH])).rejects.toMatchObject({ code: 'ERR_MODEL_DOWNLOAD', message: expect.stringContaining('python3-pip') });
  expect(named('retry')).toEqual([]);
});

test.each<[string, (file: string) => void, RegExp]>([
  ['changed without changing its size', (file) => flip(file), /^expected SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}$/],
  ['cut short', (file) => truncateSync(file, 100), /^expected \d+ bytes, got 100$/],
  ['emptied', (file) => truncateSync(file, 0), /^expected \d+ bytes, got 0$/],
  ['deleted', (file) => rmSync(file), /^is missing$/],
])('a converted file that was %s is named and made again without the network', async (_what, spoil, reason) => {
  await ensure([TINY_NPM, PHOTO]);
  const before = readFileSync(join(folder, TINY_NPM.file));
  await registry.close();
  steps = [];
  spoil(join(folder, TINY_NPM.file));
  await ensure([TINY_NPM, PHOTO]);
  expect(steps).toEqual([
    { step: 'damaged', file: 'tiny.safetensors', reason: expect.stringMatching(reason) },
    { step: 'write', file: 'tiny.safetensors', done: 1, total: 1 },
  ]);
  expect(readFileSync(join(folder, TINY_NPM.file))).toEqual(before);
});

test('a converted file that was only touched or copied is kept', async () => {
  await ensure([TINY_NPM]);
  utimesSync(join(folder, TINY_NPM.file), 1, 1);
  steps = [];
  await ensure([TINY_NPM]);
  expect(steps).toEqual([]);
});

test('a kept original that was changed is named and fetched again when it is needed', async () => {
  await ensure([TINY_NPM]);
  flip(join(downloads, 'npm', 'tiny-npm-1.2.3', 'model', 'w.bin'));
  rmSync(join(folder, TINY_NPM.file));
  steps = [];
  await ensure([TINY_NPM]);
  expect(named('damaged')).toContainEqual({
    step: 'damaged',
    file: 'tiny-npm 1.2.3: model/w.bin',
    reason: expect.stringMatching(/^expected SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}$/),
  });
  expect(named('download')).toHaveLength(1);
  expectWhole(TINY_NPM);
});

test('an older manifest’s file, a spoilt record and a file without a record are made again', async () => {
  await ensure([TINY_NPM]);
  const renamed: Output = { file: TINY_NPM.file, recipe: { ...TINY_NPM.recipe, model: 'renamed' } as Output['recipe'] };
  await ensure([renamed]);
  expect(decodeSafetensors(readFileSync(join(folder, TINY_NPM.file))).metadata['model']).toBe('renamed');
  for (const record of ['{"tiny.safe', 'null', '{}']) {
    writeFileSync(join(folder, 'manifest.lock.json'), record);
    writeFileSync(join(folder, TINY_NPM.file), 'somebody else’s');
    await ensure([TINY_NPM]);
    expectWhole(TINY_NPM);
  }
});

test('an output of a package that the manifest lacks is an error', async () => {
  await expect(ensure([TINY_TORCH], { packages: [npmPackage] })).rejects.toMatchObject({
    code: 'ERR_MODEL_MANIFEST',
    message: 'torch.safetensors: the manifest has no package tiny_torch',
  });
});

test('set-ups at the same time fetch once and do not spoil each other', async () => {
  const options = { outputs: [TINY_NPM, TINY_TORCH, PHOTO], packages: packages(), folder, downloads };
  // The first answer comes once the other two wait.
  registry.answers = ['held'];
  let go = () => {};
  registry.held = new Promise((resolve) => (go = resolve));
  const children = [1, 2, 3].map(() => startEnsure(compiled, options, environment));
  const photos = startEnsure(compiled, { ...options, outputs: [PHOTO], folder: join(root, 'photos') }, environment);
  const waiting = () => children.filter((child) => child.steps.includes(`wait ${folder}`)).length;
  await until('two of them wait', () => waiting() >= 2).finally(go);
  for (const { ended } of [...children, photos]) expect(await ended).toEqual({ status: 0, stderr: '' });
  expect(registry.requests).toBe(2);
  expect(children.flatMap((child) => child.steps).filter((step) => step.startsWith('write'))).toHaveLength(3);
  for (const output of options.outputs) expectWhole(output);
  expect(leftovers()).toEqual([]);
});

test.each(['download tiny-npm 1.2.3', 'fetched model/w.bin', 'write tiny.safetensors', 'write torch.safetensors'])(
  'killed at "%s", the next set-up finds nothing half done and finishes',
  async (step) => {
    const options = { outputs: [TINY_NPM, TINY_TORCH, PHOTO], packages: packages(), folder, downloads };
    const child = startEnsure(compiled, options, environment, step);
    await child.reached(step);
    child.process.kill('SIGKILL');
    await child.ended;
    for (const output of options.outputs) if (existsSync(join(folder, output.file))) expectWhole(output);
    abandonLocks();
    await ensure(options.outputs);
    for (const output of options.outputs) expectWhole(output);
    expect(leftovers()).toEqual([]);
  },
);

test('killed in the middle of a download, what it left is removed', async () => {
  registry.answers = ['hanging'];
  const hanging = registry.hanging;
  const child = startEnsure(compiled, { outputs: [TINY_NPM], packages: packages(), folder, downloads }, environment);
  await hanging;
  child.process.kill('SIGKILL');
  await child.ended;
  writeFiles(folder, { '.unfinished-tiny.safetensors-1-00': 'half a file' });
  expect(leftovers().filter((name) => name.includes('.unfinished-')).length).toBeGreaterThanOrEqual(2);
  abandonLocks();
  await ensure([TINY_NPM]);
  expectWhole(TINY_NPM);
  expect(leftovers()).toEqual([]);
});

test('ended by Ctrl-C, it leaves no lock to wait for', async () => {
  registry.answers = ['hanging'];
  const hanging = registry.hanging;
  const child = startEnsure(compiled, { outputs: [TINY_NPM], packages: packages(), folder, downloads }, environment);
  await hanging;
  child.process.kill('SIGINT');
  await child.ended;
  await ensure([TINY_NPM]);
  expect(named('wait')).toEqual([]);
  expectWhole(TINY_NPM);
});

/** Changes one byte in the middle of a file. */
function flip(file: string): void {
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(file, bytes);
}

/** Makes the locks of a killed process as old as they would be after the ten seconds that a set-up waits for it. */
function abandonLocks(): void {
  const past = new Date(Date.now() - 60_000);
  for (const inside of [folder, downloads]) {
    for (const name of existsSync(inside) ? readdirSync(inside, { recursive: true }).map(String) : []) {
      if (/(^|\/)\.lock$/.test(name)) utimesSync(join(inside, name), past, past);
    }
  }
}
