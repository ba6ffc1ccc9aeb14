import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { FaissVisionError } from './error';

// A bundler that makes an ECMAScript module of this file leaves it without a name.
const here = typeof __filename === 'string' ? __filename : join(process.cwd(), 'bundle.mjs');
const load = createRequire(here);
const root = join(dirname(here), '..');

/** What is built and published; CMakeLists.txt has the beginnings of more. */
const PREBUILT = 'linux-x64';

/**
 * The packages with what is built for this platform, of one version with this package. Names are npm's own words for a
 * platform, as process has them.
 */
const packages = {
  ann: `@faiss-vision/${process.platform}-${process.arch}`,
  vision: `@faiss-vision/vision-${process.platform}-${process.arch}`,
  models: '@faiss-vision/models',
};

const codes = { ann: 'ERR_ADDON_UNAVAILABLE', vision: 'ERR_VISION_UNAVAILABLE' };

/**
 * Electron keeps an app in one file, app.asar, and beside it, in app.asar.unpacked, what the system itself must open: addons,
 * the libraries that they need, weights that are mapped into memory.
 */
function unpacked(path: string): string {
  return path.replace(/\.asar(?=[\\/])/, '.asar.unpacked');
}

/** The path of a file of one of this package's companions, undefined where it is not installed. */
export function companionFile(companion: keyof typeof packages, file: string): string | undefined {
  try {
    return unpacked(load.resolve(`${packages[companion]}/${file}`));
  } catch {
    return undefined;
  }
}

/**
 * Loads ann.node or vision.node: one that was built here (a clone, or FAISS_VISION_BUILD), else that of the platform's package.
 * @throws ERR_ADDON_UNAVAILABLE, ERR_VISION_UNAVAILABLE; they say why, and what helps
 */
export function loadAddon(name: 'ann' | 'vision'): unknown {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 17)) {
    throw new FaissVisionError(codes[name], `faiss-vision needs Node 20.17 or newer, and this is Node ${process.versions.node}`);
  }
  const local = builds(name).map((build) => unpacked(join(root, build, 'Release', `${name}.node`))).find((file) => existsSync(file));
  let path = local ?? unpacked(join(root, 'build', 'Release', `${name}.node`));
  try {
    if (local === undefined) path = prebuild(name);
    const addon = load(path);
    paths.set(name, path);
    return addon;
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).split(/\n\s*/, 2).join(', ');
    throw unavailable(name, explain(path, reason));
  }
}

/** The addon that prebuildify put into this platform's package, as node-gyp-build finds it. */
function prebuild(name: 'ann' | 'vision'): string {
  const manifest = companionFile(name, 'package.json');
  if (manifest === undefined) throw new Error(whyAbsent(name));
  checkProcessor();
  return (require('node-gyp-build') as { resolve(folder: string): string }).resolve(dirname(manifest));
}

const paths = new Map<'ann' | 'vision', string>();

/** The addons that were loaded, and from which files. */
export function loadedAddons(): ReadonlyMap<'ann' | 'vision', string> {
  return paths;
}

/** Where this project's own builds lie: that for CUDA first, where there is one. FAISS_VISION_CUDA=0 passes it over. */
function builds(name: 'ann' | 'vision'): string[] {
  return process.env.FAISS_VISION_CUDA === '0' ? ['build'] : [{ ann: 'build-cuda', vision: 'build-cuda-vision' }[name], 'build'];
}

function unavailable(name: 'ann' | 'vision', reason: string): FaissVisionError {
  const clone = 'In a clone, npm run setup does that.';
  if (!isInPlace()) return error(name, reason, 'Keep faiss-vision an external package: docs/bundlers.md says how.');
  const rebuild = `npm rebuild faiss-vision`;
  const { version } = manifest()!;
  if (name === 'ann') {
    const install = isPrebuilt() ? `Install it with npm install ${packages.ann}@${version}, or build it` : 'Build it';
    return error(name, reason, `${install} from source with FAISS_VISION_BUILD=1 ${rebuild} (docs/installing.md). ${clone}`);
  }
  const install = isPrebuilt() ? `Install them with npm install ${packages.vision}@${version} ${packages.models}@${version}, or build` : 'Build';
  return error(
    name,
    reason,
    `${install} vision.node against a libtorch of your own, for CPU or CUDA, with ` +
      `Torch_DIR=LIBTORCH/share/cmake/Torch FAISS_VISION_BUILD=vision ${rebuild} (docs/installing.md). ${clone} Search works without.`,
  );
}

function error(name: 'ann' | 'vision', reason: string, advice: string): FaissVisionError {
  const what = { ann: 'the search addon', vision: 'faces and depth need vision.node and libtorch, which' }[name];
  return new FaissVisionError(codes[name], `${what} could not be loaded (${reason}). ${advice}`);
}

function whyAbsent(name: 'ann' | 'vision'): string {
  if (!isInPlace()) return `a bundler has put this code into ${here}, where its addons are not`;
  const platform = `${process.platform}-${process.arch}`;
  if (!isPrebuilt()) return `none is built for ${isMusl() ? `${platform} with musl` : platform}, only for ${PREBUILT} with glibc`;
  return `the package ${packages[name]} is not installed`;
}

function isPrebuilt(): boolean {
  return `${process.platform}-${process.arch}` === PREBUILT && !isMusl();
}

/** What is published needs x86-64-v3. Without it the process would end with SIGILL, as soon as the addon is loaded. */
function checkProcessor(): void {
  const flags = linuxProcessorFlags();
  if (flags === undefined || ['avx2', 'fma', 'bmi2'].every((flag) => flags.includes(flag))) return;
  throw new Error('it is built for processors with AVX2, FMA and BMI2 (x86-64-v3), which this one lacks');
}

function linuxProcessorFlags(): string[] | undefined {
  try {
    const file = openSync('/proc/cpuinfo', 'r');
    try {
      // The first processor's are enough, and on a large machine the whole file takes its time.
      const start = Buffer.alloc(4096);
      return /^flags\s*:(.*)$/m.exec(start.toString('latin1', 0, readSync(file, start)))?.[1]?.split(' ');
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined;
  }
}

/** The dynamic loader's words, or what they mean where that is known. */
function explain(path: string, reason: string): string {
  const glibc = /version `GLIBC_([\d.]+)' not found/.exec(reason);
  return glibc === null ? reason : `${path} needs glibc ${glibc[1]} or newer, and this system has ${glibcVersion()}`;
}

/** This package's own package.json; undefined where this code was bundled into another file. */
function manifest(): { version: string } | undefined {
  try {
    const found = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { name?: unknown; version: string };
    return found.name === 'faiss-vision' ? found : undefined;
  } catch {
    return undefined;
  }
}

/** Of this package; `'unknown'` where this code was bundled into another file. */
export function packageVersion(): string {
  return manifest()?.version ?? 'unknown';
}

function isInPlace(): boolean {
  return manifest() !== undefined;
}

function glibcVersion(): string | undefined {
  return (process.report.getReport() as { header: { glibcVersionRuntime?: string } }).header.glibcVersionRuntime;
}

function isMusl(): boolean {
  return process.platform === 'linux' && glibcVersion() === undefined;
}
