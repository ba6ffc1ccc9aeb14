import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from './errors.mjs'
import { readJson } from './fingerprint.mjs'
import { findCommand } from './paths.mjs'
import { run } from './run.mjs'

// One package that pins the versions of all the others, which belong together. FAISS 1.7.3 compiles with this one.
const VERSION = '13.0.3.0'
const PARTS = ['cccl', 'crt', 'cublas', 'cudart', 'curand', 'nvcc', 'nvvm', 'profiler']
const PACKAGE = `cuda-toolkit[${PARTS.join()}]==${VERSION}`

/** Turing, Ampere, Ada, Hopper, Blackwell; the last also as code that newer GPUs compile for themselves. */
export const USUAL_ARCHITECTURES = '75-real;80-real;86-real;89-real;90-real;100-real;120'

/** For which GPUs is compiled, as CMAKE_CUDA_ARCHITECTURES takes them: what was once chosen stays, whichever addon it was chosen for. */
export function architectures({ environment, folder }) {
  const chosen = (build) => readJson(join(folder, build, '.setup.json'))?.options.CMAKE_CUDA_ARCHITECTURES
  return environment.FAISS_VISION_CUDA_ARCHITECTURES || chosen('build-cuda') || chosen('build-cuda-vision') || USUAL_ARCHITECTURES
}

const folderIn = (cache) => join(cache, `cuda-${VERSION}-${process.arch}`)

/** PyPI's packages have what programs load; what compiles them goes by names without a version, in lib64. */
export function layOut(root) {
  const lib = join(root, 'lib')
  for (const name of readdirSync(lib)) {
    const [plain] = name.split('.so.')
    if (plain !== name && !plain.includes('.alt') && !existsSync(join(lib, `${plain}.so`))) symlinkSync(name, join(lib, `${plain}.so`))
  }
  if (!existsSync(join(root, 'lib64'))) symlinkSync('lib', join(root, 'lib64'))
}

/** The toolkit: the one that CUDAToolkit_ROOT names, one of the system, or one made of PyPI's packages. */
export const cudaToolkit = {
  name: 'cuda',
  title: 'CUDA toolkit',
  work: `fetching ${PACKAGE}`,
  advice: 'It comes from PyPI by pip, about 800 MB. Run this again, or name another (>= 12.0) by the variable CUDAToolkit_ROOT.',
  forCuda: true,

  async done(context) {
    const { CUDAToolkit_ROOT: named } = context.environment
    if (named) {
      if (!existsSync(join(named, 'bin/nvcc'))) throw new SetupError(`CUDAToolkit_ROOT is ${named}, where there is no bin/nvcc`)
      context.cudaRoot = named
      return `${named} (from the variable CUDAToolkit_ROOT)`
    }
    const made = folderIn(context.cache)
    const found = [made, '/usr/local/cuda'].find((folder) => existsSync(join(folder, 'bin/nvcc')))
    if (found === undefined && findCommand('nvcc', context.environment) !== undefined) return 'left to CMake, which finds nvcc by PATH'
    context.cudaRoot = found
    return found && (found === made ? `${VERSION} of PyPI` : found)
  },

  async run(context, progress) {
    const target = folderIn(context.cache)
    const work = `${target}.unfinished`
    rmSync(work, { recursive: true, force: true })
    mkdirSync(context.cache, { recursive: true })
    const pip = ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--only-binary=:all:', '--no-compile', '--target', work, PACKAGE]
    await run('python3', pip, { log: context.log, environment: context.environment })

    progress.update('laying it out as CMake looks for it')
    const root = join(work, 'nvidia/cu13')
    layOut(root)
    if (!existsSync(join(root, 'bin/nvcc'))) throw new SetupError('the packages have no bin/nvcc', { log: context.log })
    renameSync(root, target)
    rmSync(work, { recursive: true, force: true })
    context.cudaRoot = target
    return `${VERSION} of PyPI`
  },
}
