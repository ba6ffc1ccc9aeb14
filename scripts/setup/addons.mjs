import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { architectures } from './cuda.mjs'
import { SetupError } from './errors.mjs'
import { fileStates, filesBelow, readJson, shortHash } from './fingerprint.mjs'
import { buildJobs, ninjaProgress } from './ninja.mjs'
import { run } from './run.mjs'
import { osRelease } from './system.mjs'

const PEAK_MEMORY_PER_JOB_GB = 2 // a file that includes torch's headers
const ADDONS = { search: 'Release/ann.node', vision: 'Release/vision.node' }

const outputsOf = ({ published = Object.keys(ADDONS) }) => published.map((name) => ADDONS[name])

/** For the processor, which is what is published. */
export const addons = step({
  name: 'addons',
  title: 'native addons',
  build: 'build',
  outputs: outputsOf,
  options: cmakeOptions,
})

/** For GPUs too, each in a folder of its own, as each goes with a CUDA of its own. */
export const cudaAddons = {
  ...step({ name: 'cuda-addons', title: 'search for CUDA', build: 'build-cuda', outputs: () => [ADDONS.search], options: cudaOptions }),
  forCuda: true,
}
export const cudaVision = {
  ...step({ name: 'cuda-vision', title: 'models for CUDA', build: 'build-cuda-vision', outputs: () => [ADDONS.vision], options: cudaVisionOptions }),
  forCuda: true,
}

/**
 * @param build    the folder, in the project's, that it is built in
 * @param outputs  what must be there afterwards, relative to that
 * @param options  what CMake is told
 */
function step({ name, title, build, outputs, options }) {
  const stampPath = ({ folder }) => join(folder, build, '.setup.json')

  /** A hash of everything that the addons are made from. */
  function state(context, stamp) {
    const { folder } = context
    // A published package has no lock file.
    const files = ['CMakeLists.txt', 'package-lock.json', 'native'].flatMap((file) => filesBelow(join(folder, file)))
    // A new release of the system comes with another libtorch.
    const { ID, VERSION_ID } = osRelease()
    return shortHash([fileStates(files), options(context, stamp), ID, VERSION_ID])
  }

  function describe(built, context) {
    const made = outputs(context)
    const tests = built.length - made.length
    return `${made.map((path) => basename(path)).join(', ')}${tests > 0 ? ` and ${tests} test program${tests > 1 ? 's' : ''}` : ''}`
  }

  return {
    name,
    title,
    work: 'compiling',
    advice:
      "The compiler's or CMake's messages above say what is wrong.\n" +
      'Other builds of FAISS and libtorch are named by the variables faiss_ROOT and Torch_DIR.',

    async done(context) {
      const torch = context.environment.Torch_DIR
      // CMake would pass over it without a word and take another one.
      if (torch && !existsSync(join(torch, 'TorchConfig.cmake'))) {
        throw new SetupError(`Torch_DIR is ${torch}, where there is no TorchConfig.cmake`)
      }
      const stamp = readJson(stampPath(context))
      const built = stamp?.state === state(context, stamp) && stamp.outputs.every((path) => existsSync(join(context.folder, build, path)))
      return built ? describe(stamp.outputs, context) : undefined
    },

    async run(context, progress) {
      const { folder } = context
      const stamp = readJson(stampPath(context))
      const chosen = options(context, stamp)
      const now = state(context, stamp)
      forgetOtherConfiguration(folder, build, stamp, chosen)

      const program = join(context.tools ?? join(folder, 'node_modules'), 'cmake-js/bin/cmake-js')
      const cmakeJs = (command, ...args) =>
        run(process.execPath, [program, command, '-O', join(folder, build), '-G', 'Ninja', '-B', 'Release', ...args], {
          cwd: folder,
          log: context.log,
          environment: context.environment,
          onLine: (line) => ninjaProgress(line, progress, 'compiling'),
        })
      progress.update('configuring')
      // cmake-js's own "compile" configures only the first time and builds everything twice on an error.
      await cmakeJs('configure', ...Object.entries(chosen).map(([option, value]) => `--CD${option}=${value}`))
      await cmakeJs('build', '--parallel', String(buildJobs(PEAK_MEMORY_PER_JOB_GB)))

      const absent = outputs(context).filter((path) => !existsSync(join(folder, build, path)))
      if (absent.length > 0) {
        const paths = absent.map((path) => `${build}/${path}`)
        throw new SetupError(`CMake left out ${paths.join(' and ')}; its warning says why`, { log: context.log })
      }
      const made = [...outputs(context), ...testPrograms(folder, build)]
      writeFileSync(stampPath(context), JSON.stringify({ state: now, options: chosen, outputs: made }))
      return `built: ${describe(made, context)}`
    },
  }
}

/** The C++ test programs that were built, relative to the folder of the build. */
export function testPrograms(folder, build = 'build') {
  const tests = join(folder, build, 'test')
  if (!existsSync(tests)) return []
  // A program whose source is gone is no test any more.
  const names = readdirSync(tests).filter((name) => existsSync(join(folder, 'native/test', `${name}.cpp`)))
  return names.map((name) => `test/${name}`)
}

function cmakeOptions({ environment, faissRoot, tests, published, tools }, stamp) {
  // Once built, the tests stay in the build: else demo and test in turn would configure it each time.
  const options = { FAISS_VISION_TESTS: tests || stamp?.options?.FAISS_VISION_TESTS === 'ON' ? 'ON' : 'OFF' }
  if (faissRoot !== undefined) options.faiss_ROOT = faissRoot
  for (const [option, name] of [['FAISS_VISION_SEARCH', 'search'], ['FAISS_VISION_TORCH', 'vision']]) {
    if (published !== undefined) options[option] = published.includes(name) ? 'ON' : 'OFF'
  }
  // cmake-js looks for node-addon-api in the project alone.
  if (tools !== undefined) options.CMAKE_JS_INC = [join(tools, 'node-api-headers/include'), join(tools, 'node-addon-api')].join(';')
  for (const name of ['Torch_DIR', 'CUDAToolkit_ROOT']) if (environment[name]) options[name] = environment[name]
  return options
}

function cudaOptions(context) {
  const { cudaRoot, cudaFaissRoot } = context
  const options = {
    FAISS_VISION_CUDA: 'ON',
    FAISS_VISION_BENCH: 'ON', // FAISS's own calls, which scripts/gpu-check measures against
    FAISS_VISION_TORCH: 'OFF',
    CMAKE_CUDA_ARCHITECTURES: architectures(context),
  }
  if (cudaFaissRoot !== undefined) options.faiss_ROOT = cudaFaissRoot
  if (cudaRoot !== undefined) Object.assign(options, { CUDAToolkit_ROOT: cudaRoot, CMAKE_CUDA_COMPILER: join(cudaRoot, 'bin/nvcc') })
  return options
}

function cudaVisionOptions(context) {
  const options = { FAISS_VISION_CUDA: 'ON', FAISS_VISION_SEARCH: 'OFF', CMAKE_CUDA_ARCHITECTURES: architectures(context) }
  const { torch, toolkit } = context.cudaTorch ?? {} // without: only this step was asked for, and CMake says what it lacks
  if (torch !== undefined) options.Torch_DIR = torch
  if (toolkit !== undefined) Object.assign(options, { CUDAToolkit_ROOT: toolkit, CUDA_TOOLKIT_ROOT_DIR: toolkit, CMAKE_CUDA_COMPILER: join(toolkit, 'bin/nvcc') })
  return options
}

/** CMake keeps what it once found and refuses a folder that was moved; what is compiled may stay. */
function forgetOtherConfiguration(folder, build, stamp, options) {
  const cache = join(folder, build, 'CMakeCache.txt')
  if (!existsSync(cache)) return
  const text = readFileSync(cache, 'utf8')
  if (!text.includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${folder}\n`)) rmSync(join(folder, build), { recursive: true })
  else if (JSON.stringify(stamp?.options) !== JSON.stringify(options)) rmSync(cache)
}
