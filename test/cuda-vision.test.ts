// Compiles vision.node for CUDA against the libtorch of PyPI's wheel, 3 GB to fetch the first time, and tries it without a GPU. It is
// packed with ann.node for CUDA, which takes as long to compile as test/cuda-build.test.ts says.
// Only when asked for: FAISS_VISION_TEST_CUDA=1 npm test -- cuda-vision
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';

const root = join(__dirname, '..');
const asked = process.env.FAISS_VISION_TEST_CUDA === '1';
const hour = 3600 * 1000;

/** For one architecture, as test/cuda-build.test.ts does, which may run at the same time. */
function setUp(steps: string) {
  const env = { FAISS_VISION_CUDA_ARCHITECTURES: '90', ...process.env };
  execFileSync(process.execPath, ['scripts/setup.mjs', '--cuda', '--only', steps], { cwd: root, env, stdio: 'inherit' });
}

describe.skipIf(!asked)(`faces and depth built for CUDA${asked ? '' : ' (skipped: FAISS_VISION_TEST_CUDA is not 1)'}`, () => {
  beforeAll(() => setUp('cuda-torch,cuda-vision'), hour);

  /** What an expression's promise gives, in a process of its own. */
  const run = (code: string, cuda = '1') => {
    const program = `(async () => { ${code} })().then((value) => console.log(JSON.stringify(value)))`;
    const { stdout, stderr } = spawnSync(process.execPath, ['-e', program], { cwd: root, encoding: 'utf8', env: { ...process.env, FAISS_VISION_CUDA: cuda } });
    expect(stdout, stderr).not.toBe('');
    return JSON.parse(stdout) as unknown;
  };

  const faces = `
    const { FaceRecognizer } = require('faiss-vision/face');
    const { photosFolder } = require('./dist/models/cache');
    const recognizer = await FaceRecognizer.load({ model: 'resnet128' });
    const faces = await recognizer.faces(photosFolder() + '/face_recognition/obama.jpg');
    return { file: require('./dist/native').loadedAddons().get('vision'), faces: faces.map(({ box, features }) => ({ box, features: [...features] })) };`;

  it('recognises a face on the processor, as the other build does', () => {
    type Answer = { file: string; faces: { box: { x: number }; features: number[] }[] };
    const [ours, other] = [run(faces), run(faces, '0')] as [Answer, Answer];
    expect(ours.file).toBe(join(root, 'build-cuda-vision/Release/vision.node'));
    expect(other.file).toBe(join(root, 'build/Release/vision.node'));
    expect(ours.faces).toHaveLength(other.faces.length);
    ours.faces.forEach(({ box, features }, i) => {
      expect(box.x).toBeCloseTo(other.faces[i]!.box.x, 3);
      features.forEach((value, k) => expect(value).toBeCloseTo(other.faces[i]!.features[k]!, 4));
    });
  }, hour);

  it('computes what a GPU would in fp16', () => {
    const code = faces.replace("{ model: 'resnet128' }", "{ model: 'resnet128', device: 'torch', precision: 'fp16' }");
    const [half, full] = [run(code), run(faces)] as { faces: { features: number[] }[] }[];
    const away = Math.hypot(...half!.faces[0]!.features.map((value, i) => value - full!.faces[0]!.features[i]!));
    expect(away).toBeLessThan(0.1);
  }, hour);

  it('says why there is no GPU, where there is none', () => {
    const answer = run(`
      const { FaceRecognizer } = require('faiss-vision/face');
      return FaceRecognizer.load({ model: 'resnet128', device: 'cuda:9' }).then(() => 'loaded', ({ code, message }) => [code, message]);`);
    expect(answer).toEqual([
      'ERR_CUDA_UNAVAILABLE',
      expect.stringMatching(/^`device` 'cuda:9' cannot be used: (there is no (NVIDIA driver|NVIDIA GPU|such device)|the NVIDIA driver is too old)/),
    ]);
  });

  it('is packed with all that gpu-check needs on a machine that has libtorch and nothing else', () => {
    setUp('cuda,faiss-cuda,cuda-addons');
    const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-pack-'));
    try {
      execFileSync(process.execPath, ['scripts/gpu-check.mjs', '--pack', folder], { cwd: root });
      const there = join(folder, 'there');
      mkdirSync(there);
      for (const archive of ['search', 'models'].map((name) => join(folder, `${name}.tar.xz`))) {
        expect(statSync(archive).size, archive).toBeLessThan(64 * 2 ** 20);
        execFileSync('tar', ['-C', there, '-xJf', archive]);
      }
      // Where this build's libtorch lies; nothing else of this machine's.
      const dynamic = execFileSync('readelf', ['-d', join(root, 'build-cuda-vision/Release/vision.node')], { encoding: 'utf8' });
      const env = { LD_LIBRARY_PATH: /RUNPATH.*\[\$ORIGIN:(.*)\]/.exec(dynamic)![1]!, HOME: there };
      const args = ['scripts/gpu-check.mjs', '--rehearse', '--only', 'search-speed,processes,faces,depth'];
      const { status, stdout, stderr } = spawnSync(join(there, 'node'), args, { cwd: there, encoding: 'utf8', env });
      expect(status, stdout + stderr).toBe(0);
      expect(stdout).toContain('Photos to features');
    } finally {
      rmSync(folder, { recursive: true });
    }
  }, 3 * hour);

  it('has CUDA, which the build for the processor has no trace of', () => {
    const needed = (build: string) => execFileSync('readelf', ['-d', join(root, build, 'Release/vision.node')], { encoding: 'utf8' });
    expect(needed('build-cuda-vision')).toMatch(/NEEDED.*libtorch_cuda/);
    expect(needed('build')).not.toMatch(/NEEDED.*(cuda|cudart|cudnn|cublas)/);
    expect(readFileSync(join(root, 'build/Release/vision.node')).toString('latin1')).not.toMatch(/cudaGetDevice|CUDAGraph|libcudart/);
  });
});
