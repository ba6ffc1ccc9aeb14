import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { sourcePackageSources } from './apt-sources.mjs'
import { architectures } from './cuda.mjs'
import { SetupError } from './errors.mjs'
import { shortHash } from './fingerprint.mjs'
import { buildJobs, ninjaProgress } from './ninja.mjs'
import { cacheFolder, findCommand } from './paths.mjs'
import { run } from './run.mjs'
import { instructionSet, osRelease } from './system.mjs'

const PEAK_MEMORY_PER_JOB_GB = 1
const UNFINISHED = '.faiss-'

const level = instructionSet()
// The release is part of the name, so that an upgraded system builds its newer source package.
const release = osRelease()

/** The two builds of one source: what differs is the code for GPUs, which only the CUDA build of the addon links. */
const variants = {
  faiss: {
    title: 'FAISS',
    work: 'building it once for this processor, a minute or two',
    root: 'faiss_ROOT',
    header: 'include/faiss/Index.h',
    options: () => ['-DFAISS_ENABLE_GPU=OFF'],
    described: () => level ?? process.arch,
  },
  'faiss-cuda': {
    title: 'FAISS for CUDA',
    work: 'building it once, an hour or more for all architectures on few cores',
    root: 'FAISS_VISION_CUDA_FAISS',
    header: 'include/faiss/gpu/GpuCloner.h',
    options: (context) => [
      '-DFAISS_ENABLE_GPU=ON',
      `-DCMAKE_CUDA_ARCHITECTURES=${architectures(context)}`,
      '-DCMAKE_CUDA_STANDARD=17', // what CUDA 13's own headers ask for
    ],
    described: (context) => `${level ?? process.arch} and CUDA ${architectures(context)}`,
  },
}

const optionsOf = (name, context) => [
  '-DCMAKE_BUILD_TYPE=Release', // -O3 -DNDEBUG
  `-DCMAKE_CXX_FLAGS=${level === undefined ? '' : `-march=${level}`}`,
  '-DBUILD_SHARED_LIBS=OFF',
  '-DCMAKE_POSITION_INDEPENDENT_CODE=ON', // it becomes part of a shared object, the addon
  '-DCMAKE_INSTALL_LIBDIR=lib',
  ...variants[name].options(context),
  '-DFAISS_ENABLE_PYTHON=OFF',
  '-DFAISS_ENABLE_C_API=OFF',
  '-DBUILD_TESTING=OFF',
  '-DCMAKE_DISABLE_FIND_PACKAGE_MKL=ON', // the addon links OpenBLAS, whatever else is installed
]
const suffix = (name, context) => `${level ?? process.arch}-${shortHash([optionsOf(name, context), release.ID, release.VERSION_ID])}`

export const faiss = step('faiss', 'faissRoot')
export const faissForCuda = { ...step('faiss-cuda', 'cudaFaissRoot'), forCuda: true }

/** @param key  where the context gets the folder from */
function step(name, key) {
  const { title, work, root, header, described } = variants[name]
  return {
    name,
    title,
    work,
    advice:
      'Run this again: nothing unfinished stays behind.\n' +
      `Or name another build of FAISS (>= 1.7.3) by the variable ${root}, a folder with include/faiss and lib/.`,

    async done(context) {
      const named = context.environment[root]
      if (named) {
        context[key] = named
        // CMake would pass over it without a word and take another one.
        if (!existsSync(join(named, header))) throw new SetupError(`${root} is ${named}, where there is no ${header}`)
        return `${named} (from the variable ${root})`
      }
      const built = findBuilt(name, context)
      if (built !== undefined) {
        context[key] = built
        return `${versionOf(built, name, context)} for ${described(context)}`
      }
      if (findCommand('apt-get') === undefined) return `left to CMake, as there is no apt-get; the variable ${root} selects one`
      return undefined
    },

    async run(context, progress) {
      mkdirSync(context.cache, { recursive: true })
      // The lock is ours: what an earlier, killed set-up left half done is nobody's.
      for (const entry of readdirSync(context.cache)) {
        if (entry.startsWith(UNFINISHED)) rmSync(join(context.cache, entry), { recursive: true, force: true })
      }
      // In the cache itself, because only within one file system is a rename all or nothing.
      const folder = mkdtempSync(join(context.cache, UNFINISHED))
      try {
        const version = await fetchSource(folder, context, progress)
        await compile(folder, name, context, progress)
        const target = join(context.cache, `${name}-${version}-${suffix(name, context)}`)
        renameSync(join(folder, 'installed'), target)
        context[key] = target
        return `${version} for ${described(context)}, built`
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    },
  }
}

/** The folder of the FAISS that the set-up uses, undefined where it is left to CMake. */
export function faissFolder(environment = process.env) {
  return environment.faiss_ROOT || findBuilt('faiss', { cache: cacheFolder(environment), environment })
}

/** The newest finished build for this processor and release. */
function findBuilt(name, context) {
  if (!existsSync(context.cache)) return undefined
  const pattern = new RegExp(`^${name}-\\d.*-${suffix(name, context)}$`)
  const builds = readdirSync(context.cache).filter((entry) => pattern.test(entry))
  const newest = builds.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)
  return newest && join(context.cache, newest)
}

function versionOf(folder, name, context) {
  return basename(folder).slice(name.length + 1, -suffix(name, context).length - 1)
}

/** Fetches and unpacks the distribution's source package into work/source; returns its version. */
async function fetchSource(work, context, progress) {
  const sources = sourcePackageSources('/etc/apt', release.VERSION_CODENAME)
  if (sources === '') throw new SetupError(`/etc/apt has no source of ${release.PRETTY_NAME} to take FAISS's source package from`)
  writeFileSync(join(work, 'faiss.sources'), sources)
  mkdirSync(join(work, 'lists'))

  // Everything that apt reads or writes besides keys and proxies is in the work folder, so nothing of
  // the system's is touched and no root is needed.
  const options = {
    'Dir::Etc::sourcelist': join(work, 'faiss.sources'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::lists': join(work, 'lists'),
    'Dir::Cache': work,
    'Acquire::Languages': 'none',
    // apt's unprivileged user could not write into the home of root.
    'APT::Sandbox::User': 'root',
    // Else a mirror that does not answer is only a warning, and the next command fails for no visible reason.
    'APT::Update::Error-Mode': 'any',
  }
  const apt = (...args) =>
    run('apt-get', [...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]), ...args], {
      cwd: work,
      log: context.log,
      environment: context.environment,
    })
  progress.update('fetching the list of source packages')
  await apt('update')
  progress.update('fetching the source package')
  await apt('source', '--only-source', 'faiss')

  const names = readdirSync(work, { withFileTypes: true })
  const description = names.find((entry) => entry.name.endsWith('.dsc'))?.name
  const folder = names.find((entry) => entry.isDirectory() && entry.name.startsWith('faiss-'))?.name
  if (description === undefined || folder === undefined) throw new SetupError('the source package faiss did not unpack as expected', { log: context.log })
  renameSync(join(work, folder), join(work, 'source'))
  return description.slice('faiss_'.length, -'.dsc'.length)
}

/** Compiles work/source into work/installed: include/ and lib/libfaiss.a. */
async function compile(work, name, context, progress) {
  const cmake = (...args) =>
    run('cmake', args, {
      cwd: work,
      log: context.log,
      environment: context.environment,
      onLine: (line) => ninjaProgress(line, progress, 'compiling'),
    })
  progress.update('configuring')
  const toolkit = context.cudaRoot === undefined ? [] : [`-DCUDAToolkit_ROOT=${context.cudaRoot}`, `-DCMAKE_CUDA_COMPILER=${context.cudaRoot}/bin/nvcc`]
  const options = [...optionsOf(name, context), ...(name === 'faiss-cuda' ? toolkit : [])]
  await cmake('-G', 'Ninja', '-S', 'source', '-B', 'build', `-DCMAKE_INSTALL_PREFIX=${join(work, 'installed')}`, ...options)
  await cmake('--build', 'build', '--target', 'faiss', '--parallel', String(buildJobs(PEAK_MEMORY_PER_JOB_GB)))
  await cmake('--install', 'build')
  if (!existsSync(join(work, 'installed/lib/libfaiss.a')) || !existsSync(join(work, 'installed/include/faiss/Index.h'))) {
    throw new SetupError('the build of FAISS gave no library', { log: context.log })
  }
  copyFileSync(join(work, 'source/LICENSE'), join(work, 'installed/LICENSE')) // who passes the library on must pass this on
  // Its CMake package names the BLAS found just now; the addon chooses its own.
  rmSync(join(work, 'installed/share'), { recursive: true, force: true })
}
