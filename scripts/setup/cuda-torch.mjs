import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { layOut } from './cuda.mjs'
import { SetupError } from './errors.mjs'
import { pythonEnvironment } from './python.mjs'
import { run } from './run.mjs'

// The libraries and the compiler that this release of torch was built with: its CMake package asks for all of them, though only
// headers and cudart are compiled against. torch itself goes without what only Python needs.
const TORCH = 'torch==2.15.0'
const TOOLKIT = '13.2.2'
const PARTS = ['cccl', 'cublas', 'cudart', 'cufft', 'cufile', 'cupti', 'curand', 'cusolver', 'cusparse', 'nvcc', 'nvjitlink', 'nvrtc', 'nvtx', 'profiler']
const LIBRARIES = [
  `cuda-toolkit[${PARTS.join()}]==${TOOLKIT}`,
  'nvidia-cudnn-cu13==9.26.0.51',
  'nvidia-cusparselt-cu13==0.8.1',
  'nvidia-nccl-cu13==2.30.7',
  'nvidia-nvshmem-cu13==3.7.2',
]

function environment() {
  const { folder, python, commands } = pythonEnvironment('cuda-torch', LIBRARIES, [TORCH])
  const { toolkit } = foldersIn(folder)
  const lib = join(toolkit, 'lib')
  // For native/vision/jpeg_decoder.cpp, which finds it at run time. In the list above it would have all 3 GB fetched anew where they are.
  const found = existsSync(lib) && readdirSync(lib).some((file) => file.startsWith('libnvjpeg.so.'))
  const nvjpeg = [python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', `cuda-toolkit[nvjpeg]==${TOOLKIT}`]
  return { folder, commands: found ? commands : [...commands, nvjpeg] }
}

/** Where CMake finds torch, and the toolkit that belongs to it. */
function foldersIn(folder) {
  const [python] = existsSync(join(folder, 'lib')) ? readdirSync(join(folder, 'lib')) : []
  const packages = join(folder, 'lib', python ?? 'python3', 'site-packages')
  return { torch: join(packages, 'torch/share/cmake/Torch'), toolkit: join(packages, 'nvidia/cu13') }
}

/** libtorch for CUDA: the one that FAISS_VISION_CUDA_TORCH names, or the one of PyPI's wheel. */
export const cudaTorch = {
  name: 'cuda-torch',
  title: 'libtorch for CUDA',
  work: `fetching ${TORCH} and the libraries it loads`,
  advice:
    'It comes from PyPI by pip, about 3 GB, and takes 5 GB in the cache. Run this again, or name another by FAISS_VISION_CUDA_TORCH,\n' +
    'the folder of its TorchConfig.cmake, and the toolkit it was built with by CUDAToolkit_ROOT.',
  forCuda: true,

  async done(context) {
    const { FAISS_VISION_CUDA_TORCH: named } = context.environment
    if (named) {
      // CMake would pass over it without a word and take another one.
      if (!existsSync(join(named, 'TorchConfig.cmake'))) throw new SetupError(`FAISS_VISION_CUDA_TORCH is ${named}, where there is no TorchConfig.cmake`)
      context.cudaTorch = { torch: named, toolkit: context.cudaRoot ?? context.environment.CUDAToolkit_ROOT }
      return `${named} (from the variable FAISS_VISION_CUDA_TORCH)`
    }
    const { folder, commands } = environment()
    const folders = foldersIn(folder)
    if (commands.length > 0 || !existsSync(join(folders.toolkit, 'lib64'))) return undefined
    context.cudaTorch = folders
    return `${TORCH} of PyPI`
  },

  async run(context) {
    const { folder, commands } = environment()
    for (const [command, ...args] of commands) await run(command, args, { log: context.log, environment: context.environment })
    const folders = foldersIn(folder)
    layOut(folders.toolkit)
    context.cudaTorch = folders
    return `${TORCH} of PyPI`
  },
}
