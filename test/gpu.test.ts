import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { info } from 'faiss-vision';
import { Ann, BinaryIndex, Index, IndexFlatL2, setCudaMemory, type Device } from 'faiss-vision/ann';
import { seeded } from './support/vectors';

const root = join(__dirname, '..');
const { cuda } = info();
const unavailable = { code: 'ERR_CUDA_UNAVAILABLE', message: expect.stringContaining(cuda.reason ?? 'GPU') as string };

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'faiss-vision-gpu-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a GPU that is not there', () => {
  // The 1000th is on no machine; where there is none at all the reason is the machine's.
  const absent = 'cuda:999';

  it('is refused with the reason, by everything that has the option', async () => {
    expect(() => Index.factory(8, 'Flat', { device: absent })).toThrowError(expect.objectContaining(unavailable));
    expect(() => new IndexFlatL2(8, { device: absent })).toThrowError(expect.objectContaining(unavailable));
    expect(() => Index.factory(8, 'Flat', { device: [absent, absent], split: 'shards' })).toThrowError(expect.objectContaining(unavailable));
    expect(() => new Ann({ dimension: 8, threshold: 1, device: absent })).toThrowError(expect.objectContaining(unavailable));

    const ann = new Ann({ dimension: 8, threshold: 0.5 });
    await ann.add(seeded(80, 1));
    const path = join(folder, 'ann.index');
    await ann.save(path);
    await expect(Ann.load(path, { device: absent })).rejects.toMatchObject(unavailable);
  });

  it('leaves the index where it is', async () => {
    const index = Index.factory(8, 'IDMap2,Flat');
    await index.add(seeded(80, 2), [...Array(10).keys()]);
    const before = await index.search(seeded(16, 3), 3);
    await expect(index.to(absent)).rejects.toMatchObject(unavailable);
    expect(() => index.toSync([absent])).toThrowError(expect.objectContaining(unavailable));
    expect(await index.search(seeded(16, 3), 3)).toEqual(before);
    expect((await index.describe()).devices).toBeUndefined();
  });

  it.skipIf(cuda.reason === undefined)('has no memory to set aside', () => {
    expect(() => setCudaMemory(2 ** 20)).toThrowError(expect.objectContaining(unavailable));
  });
});

describe('arguments', () => {
  const wrong = (parameter: string) => expect.objectContaining({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining(`\`${parameter}\``) as string });

  it.each([
    ['tpu', 'device'],
    ['cuda:', 'device'],
    ['cuda:-1', 'device'],
    ['cuda:01', 'device'],
    ['cuda:1000', 'device'],
    [1, 'device'],
    [null, 'device'],
    [[], 'device'],
    [['cpu', 'cpu'], 'device'],
    [['cuda', 'cpu'], 'device'],
    [['cuda', 3], 'device'],
  ])('device %j', async (device, parameter) => {
    expect(() => Index.factory(8, 'Flat', { device: device as Device })).toThrowError(wrong(parameter));
    await expect(Index.factory(8, 'Flat').to(device as Device)).rejects.toEqual(wrong(parameter));
  });

  it('options', async () => {
    const index = Index.factory(8, 'Flat');
    await expect(index.to('cuda', { split: 'halves' as 'shards' })).rejects.toEqual(wrong('split'));
    await expect(index.to('cuda', { float16: 1 as unknown as boolean })).rejects.toEqual(wrong('float16'));
    await expect(index.to('cuda', null as never)).rejects.toEqual(wrong('options'));
    for (const bytes of [-1, NaN, 2 ** 31, '1' as unknown as number]) expect(() => setCudaMemory(bytes)).toThrowError(wrong('bytes'));
  });
});

it("to('cpu') of what is there already changes nothing", async () => {
  for (const exact of ['bounded', 'plain'] as const) {
    const index = Index.factory(16, 'Flat', { exact, device: ['cpu'] });
    await index.add(seeded(16 * 500, 4));
    const before = [await index.search(seeded(32, 5), 4), await index.describe(), await index.toBuffer()];
    await index.to('cpu');
    expect([await index.search(seeded(32, 5), 4), await index.describe(), await index.toBuffer()]).toEqual(before);
  }
  expect('to' in BinaryIndex.factory(8, 'BFlat')).toBe(false);
});

describe('info', () => {
  it('says what runs here', () => {
    const { version, node, search, vision } = info();
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(version).toBe(manifest.version);
    expect(node).toBe(process.versions.node);
    expect(search).toMatchObject({ faiss: expect.stringMatching(/^1\.\d+\.\d+$/), kernels: expect.stringMatching(/./), file: expect.stringMatching(/ann\.node$/) });
    expect(vision).toMatchObject({ torch: expect.stringMatching(/^\d+\.\d+/), threads: expect.any(Number), file: expect.stringMatching(/vision\.node$/) });
    for (const part of [search, vision]) expect(existsSync((part as { file: string }).file)).toBe(true);
    if (cuda.reason === undefined) expect(cuda.devices.length).toBeGreaterThan(0);
    else expect(cuda.reason).toMatch(/no CUDA|no NVIDIA driver|too old|finds no GPU|compute capability|cuBLAS/);
  });

  const command = (...args: string[]) => spawnSync(process.execPath, [join(root, 'dist/cli/main.js'), 'info', ...args], { encoding: 'utf8' });

  it('is a command', () => {
    const { stdout, status } = command();
    expect(status).toBe(0);
    expect(stdout).toMatch(/^ {2}What +Which\n/);
    for (const part of ['FAISS', 'BLAS', 'libtorch', 'CUDA', 'ann.node', 'vision.node']) expect(stdout).toContain(part);
    if (cuda.reason !== undefined) expect(stdout).toContain(`none can be used: ${cuda.reason}`);
    const { free: _, ...first } = cuda.devices[0] ?? { free: 0 };
    const json = JSON.parse(command('--json').stdout) as ReturnType<typeof info>;
    expect(json.cuda).toMatchObject(cuda.devices.length > 0 ? { devices: [first] } : cuda);
    expect(command('Ada')).toMatchObject({ status: 2, stderr: expect.stringContaining('info takes no names') });
  });

  it('tells of an addon that is missing', () => {
    // A copy of the code alone has no addons.
    const script = `
      const { cpSync, writeFileSync } = require('node:fs');
      cpSync(${JSON.stringify(join(root, 'dist'))}, 'dist', { recursive: true });
      writeFileSync('package.json', '{ "name": "faiss-vision", "version": "0.1.0" }');
      const { search, vision, cuda } = require(process.cwd() + '/dist/info.js').info();
      console.log(JSON.stringify([search.code, vision.code, cuda]));`;
    const told: unknown = JSON.parse(execFileSync(process.execPath, ['-e', script], { cwd: folder, encoding: 'utf8' }));
    expect(told).toEqual(['ERR_ADDON_UNAVAILABLE', 'ERR_VISION_UNAVAILABLE', { devices: [], reason: 'ann.node could not be loaded' }]);
  });
});

it('the build for the processor has no trace of CUDA', () => {
  const file = join(root, 'build/Release/ann.node');
  const bytes = readFileSync(file).toString('latin1');
  for (const trace of ['cudart', 'cublasCreate', 'libcu', 'nv_fatbin', 'cudaMalloc', 'cudaGetDevice', 'StandardGpuResources', 'GpuIndexFlat', 'CudaIndex']) {
    expect(bytes.includes(trace), trace).toBe(false);
  }
  expect(execFileSync('readelf', ['-d', file], { encoding: 'utf8' })).not.toMatch(/NEEDED.*lib(cu|nv)/);
});

describe('scripts/gpu-check', () => {
  const check = (...args: string[]) => spawnSync(process.execPath, [join(root, 'scripts/gpu-check.mjs'), ...args], { encoding: 'utf8' });

  it('says what is wrong by its exit code', () => {
    expect(check('--only', 'nothing')).toMatchObject({ status: 2, stderr: expect.stringContaining("there is no check 'nothing'") });
    expect(check('--wrong')).toMatchObject({ status: 2 });
    if (cuda.reason !== undefined) expect(check()).toMatchObject({ status: 3, stdout: '', stderr: `gpu-check: no GPU can be used: ${cuda.reason}\n` });
  });

  it('rehearses on the processor', () => {
    const output = join(folder, 'report.md');
    const { status, stdout, stderr } = check('--rehearse', '--only', 'search-results,processes', '--output', output);
    expect(status, stdout + stderr).toBe(0);
    expect(stdout).toContain('A rehearsal on the processor');
    expect(stdout).toMatch(/\| IVF64,PQ16np, ip, brought back +\|/);
    expect(stdout).toContain('All checks passed.');
    expect(readFileSync(output, 'utf8').trim()).toBe(stdout.trim());
  });

  it('is over in time, and tells what was not done', () => {
    // On a busy machine the time may be over before the first check has begun: then with more of it.
    for (const minutes of ['0.01', '0.03', '0.1', '0.3']) {
      const { status, stdout } = check('--rehearse', '--only', 'search-results,processes', '--minutes', minutes);
      expect(status).toBe(1);
      expect(stdout).toContain(`not begun within ${minutes} minutes`);
      if (stdout.includes(`stopped after ${minutes} minutes in all`)) break;
      expect(minutes, 'no check was stopped').not.toBe('0.3');
    }
    expect(check('--minutes', 'x')).toMatchObject({ status: 2 });
  });

  it.skipIf(cuda.reason !== undefined)(`passes on this GPU${cuda.reason === undefined ? '' : ` (skipped: ${cuda.reason})`}`, () => {
    const { status, stdout, stderr } = check('--only', 'search-results,memory,processes');
    expect(status, stdout + stderr).toBe(0);
  });
});
