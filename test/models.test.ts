import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { cacheFolder, downloadsFolder, modelPath, modelsFolder, photosFolder } from '../lib/models/cache';
import { MANIFEST } from '../lib/models/manifest';
import { decodeSafetensors } from '../lib/models/safetensors';
import { compileModels, startChild } from './fixtures/models/child';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('folders', () => {
  afterEach(() => vi.unstubAllEnvs());
  const set = (FAISS_VISION_CACHE: string, XDG_CACHE_HOME: string, FAISS_VISION_MODELS: string): void => {
    for (const [name, value] of Object.entries({ FAISS_VISION_CACHE, XDG_CACHE_HOME, FAISS_VISION_MODELS })) vi.stubEnv(name, value);
  };

  test('FAISS_VISION_CACHE, else the XDG cache folder, else ~/.cache', () => {
    set('/a/cache', '/xdg', '');
    expect([cacheFolder(), modelsFolder(), photosFolder()]).toEqual(['/a/cache', '/a/cache/models', '/a/cache/photos']);
    set('', '/xdg', '');
    expect(cacheFolder()).toBe('/xdg/faiss-vision');
    for (const relative of ['', 'not/absolute']) {
      set('', relative, '');
      expect(cacheFolder()).toBe(join(homedir(), '.cache', 'faiss-vision'));
    }
  });

  test('FAISS_VISION_MODELS moves the models alone', () => {
    set('/a/cache', '', '/b/weights');
    expect(modelPath('mtcnn')).toBe('/b/weights/mtcnn.safetensors');
    expect(modelPath('resnet128')).toBe('/b/weights/resnet128.safetensors');
    expect(photosFolder()).toBe('/a/cache/photos');
  });

  test('a folder of FAISS_VISION_MODELS with other weights alone leaves those of the package', () => {
    const root = mkdtempSync(join(tmpdir(), 'models-package-'));
    const [own, packed] = [join(root, 'own'), join(root, 'packages/@faiss-vision/models')];
    for (const folder of [own, packed]) mkdirSync(folder, { recursive: true });
    const names = ['mtcnn', 'resnet128'];
    for (const name of names) writeFileSync(join(packed, `${name}.safetensors`), '');
    writeFileSync(join(own, 'resnet128.safetensors'), '');
    const script = `const [cache, ...names] = process.argv.slice(1); console.log(JSON.stringify(names.map(require(cache).modelPath)))`;
    const paths = (models: string) => {
      const env = { ...process.env, NODE_PATH: join(root, 'packages'), FAISS_VISION_MODELS: models };
      const cache = join(__dirname, '../dist/models/cache.js');
      return JSON.parse(execFileSync(process.execPath, ['-e', script, cache, ...names], { env, encoding: 'utf8' }));
    };
    expect(paths(own)).toEqual([join(packed, 'mtcnn.safetensors'), join(own, 'resnet128.safetensors')]);
    expect(paths('')).toEqual(names.map((name) => join(packed, `${name}.safetensors`)));
    rmSync(root, { recursive: true });
  });
});

describe('the real packages, from the command line', () => {
  let root: string;
  let cache: string;
  let script: string;
  let environment: Record<string, string>;
  let firstSteps: string[];

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'models-'));
    cache = join(root, 'cache');
    // The user's originals save a download; what they lack is fetched.
    if (existsSync(downloadsFolder())) cpSync(downloadsFolder(), join(cache, 'downloads'), { recursive: true });
    compileModels(join(root, 'compiled'));
    script = join(root, 'compiled', 'models', 'install.js');
    environment = { FAISS_VISION_CACHE: cache, FAISS_VISION_MODELS: '' };
    const child = startChild([script, '--photos'], environment);
    expect(await child.ended).toEqual({ status: 0, stderr: '' });
    firstSteps = child.steps;
  });
  afterAll(() => rmSync(root, { recursive: true }));

  const original = (client: string, path: string): string => join(cache, 'downloads', client, path);
  const python = (...args: string[]): Record<string, { shape: number[]; sha256: string }> =>
    JSON.parse(execFileSync('python3', [join(__dirname, 'fixtures', 'models', 'read_weights.py'), ...args], { maxBuffer: 2 ** 26 }).toString());
  const converted = (name: string) => {
    const { tensors, metadata } = decodeSafetensors(readFileSync(join(cache, 'models', name)), name);
    const found = [...tensors].map(([key, { dtype, shape, data }]) => {
      expect(dtype).toBe('F32');
      const numbers = new Float32Array(Uint8Array.from(data).buffer);
      expect(numbers.every((number) => Math.abs(number) < 1000)).toBe(true);
      return [key, { shape: [...shape], sha256: sha256(data) }];
    });
    return { tensors: Object.fromEntries(found), metadata };
  };

  test('mtcnn: every number as Python’s own pickle reads it', () => {
    const nets = ['pnet', 'rnet', 'onet'].map((net) => `${net}.=${original('pip', `facenet-pytorch-2.6.0/facenet_pytorch/data/${net}.pt`)}`);
    const { tensors, metadata } = converted('mtcnn.safetensors');
    expect(tensors).toEqual(python(...nets));
    expect(tensors['onet.conv4.weight'].shape).toEqual([128, 64, 2, 2]);
    expect(metadata).toEqual({ format: 'faiss-vision', model: 'mtcnn', source: 'facenet-pytorch 2.6.0', license: 'MIT' });
  });

  test('resnet128: every number as Python restores it', () => {
    const weights = original('npm', '@vladmandic+face-api-1.7.15/model/face_recognition_model');
    const { tensors, metadata } = converted('resnet128.safetensors');
    expect(tensors).toEqual(python(`${weights}-weights_manifest.json`, `${weights}.bin`));
    expect(tensors['fc'].shape).toEqual([256, 128]);
    expect(metadata).toEqual({ format: 'faiss-vision', model: 'resnet128', source: '@vladmandic/face-api 1.7.15', license: 'MIT' });
  });

  test('the photos are the pinned ones', () => {
    expect(MANIFEST.photos).toHaveLength(12);
    for (const { file, recipe } of MANIFEST.photos) {
      const { size, sha256: hash } = MANIFEST.packages
        .find(({ name }) => name === recipe.package)!
        .files.find(({ path }) => recipe.from === 'file' && path === recipe.path)!;
      const bytes = readFileSync(join(cache, 'photos', file));
      expect([file, bytes.length, sha256(bytes)]).toEqual([file, size, hash]);
    }
  });

  test('it tells every file that it writes, one line each, and where they are', () => {
    expect(firstSteps).toContain('wrote resnet128.safetensors (2 of 2)');
    expect(firstSteps).toContain('wrote face_recognition/obama.jpg (1 of 12)');
    expect(firstSteps.filter((line) => line.startsWith('wrote'))).toHaveLength(14);
    expect(firstSteps.at(-1)).toContain(`models are in ${join(cache, 'models')}, photos in ${join(cache, 'photos')}`);
  });

  test('the second time it finds all there at once', async () => {
    const written = statSync(join(cache, 'models', 'resnet128.safetensors')).mtimeMs;
    const child = startChild([script, '--photos'], environment);
    expect(await child.ended).toEqual({ status: 0, stderr: '' });
    expect(child.steps).toHaveLength(1); // nothing fetched, nothing written
    expect(statSync(join(cache, 'models', 'resnet128.safetensors')).mtimeMs).toBe(written);
  });

  test('an unknown argument ends it with status 2 and the usage', async () => {
    const { status, stderr } = await startChild([script, '--photo'], environment).ended;
    expect(status).toBe(2);
    expect(stderr).toContain('unknown argument --photo\nusage: node install.js [--photos]');
  });

  test('a failure ends it with status 1, its code and its reason', async () => {
    const { status, stderr } = await startChild([script], { ...environment, FAISS_VISION_CACHE: join(root, 'empty'), PATH: root }).ended;
    expect(status).toBe(1);
    expect(stderr).toMatch(/^ERR_MODEL_DOWNLOAD: python3 is needed/);
  });
});
