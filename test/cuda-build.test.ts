// Compiles FAISS's code for GPUs and ann.node with it, by the toolkit of the machine or one made of PyPI's packages: more than an
// hour the first time. Only when asked for: FAISS_VISION_TEST_CUDA=1 npm test -- cuda-build
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Info } from 'faiss-vision';

const root = join(__dirname, '..');
const asked = process.env.FAISS_VISION_TEST_CUDA === '1';
const hours = 3 * 3600 * 1000;

describe.skipIf(!asked)(`the build for CUDA${asked ? '' : ' (skipped: FAISS_VISION_TEST_CUDA is not 1)'}`, () => {
  const addon = join(root, 'build-cuda/Release/ann.node');
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'faiss-vision-cuda-'));
    // One architecture is enough to see that it compiles.
    const env = { FAISS_VISION_CUDA_ARCHITECTURES: '90', ...process.env };
    execFileSync(process.execPath, ['scripts/setup.mjs', '--cuda', '--only', 'cuda,faiss-cuda,cuda-addons'], { cwd: root, env, stdio: 'inherit' });
  }, hours);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const run = (code: string, env: NodeJS.ProcessEnv = {}) =>
    spawnSync(process.execPath, ['-e', code], { cwd: root, encoding: 'utf8', env: { ...process.env, ...env } });

  it('asks for no library of CUDA when it is loaded', () => {
    expect(existsSync(addon)).toBe(true);
    const needed = execFileSync('readelf', ['-d', addon], { encoding: 'utf8' });
    expect(needed).not.toMatch(/NEEDED.*lib(cu|nv)/);
    // What it has that the other build lacks.
    const bytes = readFileSync(addon).toString('latin1');
    for (const part of ['nv_fatbin', 'StandardGpuResources', 'libcublas.so.']) expect(bytes.includes(part), part).toBe(true);
    expect(execFileSync('nm', ['-D', '--undefined-only', addon], { encoding: 'utf8' })).not.toMatch(/ (cuda|cublas|cu[A-Z])/);
    // Its cuBLAS must not stand in for another library's.
    expect(execFileSync('nm', ['-D', '--defined-only', addon], { encoding: 'utf8' })).not.toMatch(/ (cuda|cublas)/);
  });

  it('is what is loaded, unless FAISS_VISION_CUDA=0 passes it over', () => {
    const file = `console.log(require('faiss-vision').info().search.file)`;
    expect(run(file).stdout.trim()).toBe(addon);
    expect(run(file, { FAISS_VISION_CUDA: '0' }).stdout.trim()).toBe(join(root, 'build/Release/ann.node'));
  });

  it('says why there is no GPU', () => {
    const { cuda } = JSON.parse(run(`console.log(JSON.stringify(require('faiss-vision').info()))`).stdout) as Info;
    expect(cuda.runtime).toMatch(/^1[2-9]\.\d+$/);
    expect(cuda.architectures).toBe(process.env.FAISS_VISION_CUDA_ARCHITECTURES ?? '90');
    if (cuda.reason === undefined) return;
    expect(cuda.devices).toEqual([]);
    const { stdout } = run(`try { require('faiss-vision/ann').Index.factory(8, 'Flat', { device: 'cuda' }) } catch ({ code, message }) { console.log(code, message) }`);
    expect(stdout.trim()).toBe(`ERR_CUDA_UNAVAILABLE \`device\` 'cuda:0' cannot be used: ${cuda.reason}`);
  });

  it('says that a driver is too old', () => {
    // As much of a driver as says its version: that of CUDA 10.2.
    const library = join(folder, 'libcuda.so.1');
    execFileSync('g++', ['-shared', '-fPIC', '-x', 'c++', '-', '-o', library], {
      input: 'extern "C" int cuDriverGetVersion(int* version) { *version = 10020; return 0; }',
    });
    const { stdout, stderr } = run(`console.log(JSON.stringify(require('faiss-vision').info().cuda))`, { LD_LIBRARY_PATH: folder });
    expect(JSON.parse(stdout), stderr).toMatchObject({
      driver: '10.2',
      devices: [],
      reason: expect.stringMatching(/^the NVIDIA driver is too old: it supports CUDA 10\.2, and this build needs 1\d\.\d$/) as string,
    });
  });

  it('searches on the processor as the other build does', () => {
    const code = `
      const { Ann, Index } = require('faiss-vision/ann');
      const { uniform } = await import('./scripts/gpu-check/vectors.mjs');
      const x = uniform(2000, 32, 1), q = uniform(20, 32, 2);
      const answers = [];
      for (const kind of ['Flat', 'HNSW16', 'IVF16,Flat', 'PCA16,SQ8', 'IDMap2,Flat']) {
        const index = Index.factory(32, kind);
        await index.train(x);
        await index.add(x, kind.startsWith('IDMap') ? Array.from({ length: 2000 }, (_, i) => i + 5) : undefined);
        const { labels, distances } = await index.search(q, 5);
        await index.to('cpu');
        answers.push(labels.join(), distances.join(), (await index.toBuffer()).length);
      }
      const ann = new Ann({ dimension: 32, threshold: 0.5, k: 3 });
      await ann.add(x);
      answers.push(await ann.search(q));
      console.log(JSON.stringify(answers));`;
    const both = ['1', '0'].map((cuda) => run(`(async () => {${code}})()`, { FAISS_VISION_CUDA: cuda, OMP_NUM_THREADS: '1' }));
    expect(both[0]!.stdout, both[0]!.stderr).toBe(both[1]!.stdout);
    expect(both[0]!.stdout.length).toBeGreaterThan(1000);
  });

  it('is loaded from any folder', () => {
    // Without its run path cuBLAS is not found, and is not missed before there is a GPU.
    const moved = join(folder, 'ann.node');
    copyFileSync(addon, moved);
    execFileSync('patchelf', ['--remove-rpath', moved]);
    const { stdout, stderr } = run(`const { Index, cuda } = require(${JSON.stringify(moved)}); new Index(8, 'Flat', undefined); console.log(typeof cuda().runtime)`);
    expect(stdout.trim(), stderr).toBe('string');
  });

  it('every check of gpu-check runs to its end in a rehearsal', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/gpu-check.mjs', '--rehearse'], { cwd: root, encoding: 'utf8' });
    expect(status, stdout + stderr).toBe(0);
    expect(stdout).toContain('All checks passed.');
  }, hours);
});
