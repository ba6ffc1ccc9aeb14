// What the checks need on a machine that has a driver and nothing else of ours: two archives, each within 64 MiB.
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const SHARED = ['package.json', 'dist', 'scripts/gpu-check.mjs', 'scripts/gpu-check', 'bench/report.mjs', 'bench/measure.mjs', 'bench/seeded.mjs']
const GOLDEN = ['facenet/facenet.json', 'mtcnn/mtcnn.json', 'fcrn', 'resnet128']

/**
 * search.tar.xz: Node, the checks, ann.node and FAISS's own calls. models.tar.xz: vision.node, weights that cannot be made there, photos
 * and what decodes them; libtorch and cuBLAS are the machine's. Both are unpacked into one folder.
 * @returns {Promise<{ file: string, bytes: number }[]>}
 */
export async function pack(root, folder) {
  const { modelPath, photosFolder } = createRequire(import.meta.url)(join(root, 'dist/models/cache.js'))
  const work = mkdtempSync(join(tmpdir(), 'faiss-vision-pack-'))
  mkdirSync(folder, { recursive: true })
  const laid = (name) => {
    const base = join(work, name)
    return (from, to) => {
      mkdirSync(dirname(join(base, to)), { recursive: true })
      cpSync(from, join(base, to), { recursive: true, dereference: true })
      return join(base, to)
    }
  }
  const strip = (file) => execFileSync('strip', ['--strip-unneeded', file])
  try {
    const search = laid('search')
    for (const file of SHARED) search(join(root, file), file)
    for (const addon of ['ann.node', 'bench.node']) strip(search(join(root, 'build-cuda/Release', addon), `build-cuda/Release/${addon}`))
    const node = search(process.execPath, 'node')
    strip(node)
    chmodSync(node, 0o755)

    const models = laid('models')
    const vision = join(root, 'build-cuda-vision/Release/vision.node')
    if (existsSync(vision)) strip(models(vision, 'build-cuda-vision/Release/vision.node'))
    for (const model of ['mtcnn', 'resnet128']) models(modelPath(model), `models/${model}.safetensors`)
    for (const file of GOLDEN) models(join(root, 'test/golden', file), `test/golden/${file}`)
    if (existsSync(photosFolder())) models(photosFolder(), 'cache/photos')
    for (const name of sharpAndItsNeeds(root)) models(join(root, 'node_modules', name), `node_modules/${name}`)
    for (const name of ['models', 'cache']) {
      mkdirSync(join(work, 'models', name), { recursive: true })
      writeFileSync(join(work, 'models', name, '.gpu-check'), '')
    }

    return ['search', 'models'].map((name) => {
      const file = join(folder, `${name}.tar.xz`)
      // As large a window as both addons together: most of what they hold is the same.
      execFileSync('tar', ['-C', join(work, name), '-cf', file, '-I', 'xz -T1 --lzma2=preset=6,dict=256MiB', '.'])
      return { file, bytes: statSync(file).size }
    })
  } finally {
    rmSync(work, { recursive: true })
  }
}

/** Packages that decode pictures, as they are installed. */
function sharpAndItsNeeds(root) {
  const installed = (name) => existsSync(join(root, 'node_modules', name))
  const images = installed('@img') ? readdirSync(join(root, 'node_modules/@img')).map((name) => `@img/${name}`) : []
  return ['sharp', 'detect-libc', 'semver', ...images].filter(installed)
}
