import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = join(__dirname, '..');
const run = (folder: string, ...args: string[]) => execFileSync(process.execPath, args, { cwd: folder, encoding: 'utf8' }).trim();

describe('module formats', () => {
  const names =
    'Ann,BaseIndex,BinaryIndex,DepthEstimator,DepthMap,DepthWatch,DeviceFeatures,FaceQualityError,FaceRecognizer,FaissVisionError,Gallery,Index,IndexFlatIP,IndexFlatL2,' +
    'IndexHNSW,IndexIVFFlat,IndexIVFPQ,IndexLSH,IndexPQ,IndexScalarQuantizer,convertWeights,drawFaces,info,openFrames,searchInfo,setCudaMemory,setThreads';

  it.each([
    ['CommonJS', ['-p', `Object.keys(require('faiss-vision')).sort().join()`]],
    ['ECMAScript modules', ['--input-type=module', '-e', `import * as all from 'faiss-vision'; console.log(Object.keys(all).filter((name) => !['default', 'module.exports', '__esModule'].includes(name)).sort().join())`]],
  ])('%s export the same names', (_, args) => {
    expect(run(root, ...args)).toBe(names);
  });

  it('are one and the same classes, whichever format asks', () => {
    const code = `import { createRequire } from 'node:module';
      import { Ann, FaissVisionError } from 'faiss-vision'; import { Ann as Again } from 'faiss-vision/ann'; import { FaceRecognizer } from 'faiss-vision/face';
      const all = createRequire(import.meta.url)('faiss-vision');
      console.log(Ann === Again, Ann === all.Ann, FaceRecognizer === all.FaceRecognizer, FaissVisionError === all.FaissVisionError)`;
    writeFileSync(join(root, 'build', 'same.mjs'), code);
    expect(run(root, 'build/same.mjs')).toBe('true true true true');
    rmSync(join(root, 'build', 'same.mjs'));
  });

  it('load no native code before it is used', () => {
    const count = `process.report.getReport().sharedObjects.filter((name) => name.endsWith('.node')).length`;
    expect(run(root, '-p', `require('faiss-vision'); ${count}`)).toBe('0');
    expect(run(root, '-p', `new (require('faiss-vision').Ann)({ dimension: 2, threshold: 1 }); ${count}`)).toBe('1');
  });
});

it('the API documentation builds without warnings', () => {
  // typedoc.json makes warnings errors
  expect(() => run(root, 'node_modules/typedoc/bin/typedoc', '--emit', 'none')).not.toThrow();
});

describe('what others check', () => {
  const tool = (name: string, ...args: string[]) => spawnSync(process.execPath, [join(root, 'node_modules', name), ...args], { cwd: root, encoding: 'utf8' });

  it('publint finds nothing', async () => {
    const { publint } = await import('publint');
    const { messages } = await publint({ pkgDir: root, strict: true });
    expect(messages).toEqual([]);
  });

  it('arethetypeswrong finds nothing', () => {
    // node16: subpaths have no types for the module resolution of Node 10, which needs a TypeScript from before the oldest Node here
    const { status, stdout } = tool('@arethetypeswrong/cli/dist/index.js', '--pack', '.', '--profile', 'node16', '--no-emoji', '--no-color');
    expect(stdout).toMatch(/"faiss-vision\/faiss-node" +│ OK \(CJS\) +│ OK \(ESM\)/);
    expect(status).toBe(0);
  });

  it('the declarations promise what test/types says, to both kinds of modules', () => {
    expect(tool('typescript/bin/tsc', '-p', 'test/types/tsconfig.json')).toMatchObject({ status: 0, stdout: '' });
  });
});

describe('a machine without libtorch', () => {
  const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-without-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const addons = join(folder, 'build', 'Release');
  const search = `const { Ann } = require('faiss-vision/ann'); const ann = new Ann({ dimension: 2, threshold: 0.5 }); ann.addSync(Float32Array.of(1, 2)); ann.searchSync(Float32Array.of(2, 4))[0].found`;
  const faces = `require('faiss-vision').FaceRecognizer.load({ model: 'resnet128' }).catch((error) => console.log(error.code + ' ' + error.message))`;

  beforeAll(() => {
    for (const part of ['dist', 'package.json']) cpSync(join(root, part), join(folder, part), { recursive: true });
    mkdirSync(addons, { recursive: true });
    cpSync(join(root, 'build/Release/ann.node'), join(addons, 'ann.node'));
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  });

  it('searches, and says what is missing when faces are asked for', () => {
    expect(run(folder, '-p', search)).toBe('true');
    expect(run(folder, '-e', faces)).toMatch(/^ERR_VISION_UNAVAILABLE faces and depth need vision\.node and libtorch.*npm run setup/);
  });

  it('says so too where vision.node is there and the library is not', () => {
    const addon = readFileSync(join(root, 'build/Release/vision.node')).toString('latin1');
    expect(addon).toContain('libtorch_cpu.so');
    // Another name of the same length, which no machine has.
    writeFileSync(join(addons, 'vision.node'), addon.replaceAll('libtorch_cpu.so', 'libmissing__.so'), 'latin1');
    expect(run(folder, '-p', search)).toBe('true');
    expect(run(folder, '-e', faces)).toMatch(/^ERR_VISION_UNAVAILABLE .*libmissing__\.so/);
  });

  it('says what is missing where nothing was built', () => {
    rmSync(addons, { recursive: true });
    expect(run(folder, '-p', `try { ${search} } catch (error) { error.code + ' ' + error.message }`)).toMatch(/^ERR_ADDON_UNAVAILABLE .*npm run setup/);
  });
});
