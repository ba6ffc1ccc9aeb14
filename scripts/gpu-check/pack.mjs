// What the checks need on a machine that has a driver and nothing else of ours: two archives, each within 64 MiB.
import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'

const SHARED = ['package.json', 'dist', 'scripts/gpu-check.mjs', 'scripts/gpu-check', 'bench/report.mjs', 'bench/measure.mjs', 'bench/seeded.mjs']
const GOLDEN = ['facenet/facenet.json', 'mtcnn/mtcnn.json', 'fcrn', 'resnet128']

/**
 * search.tar.xz: Node, the checks, ann.node and FAISS's own calls. models.tar.xz: vision.node, weights that cannot be made there, photos
 * and what decodes them, nvJPEG among it; libtorch and cuBLAS are the machine's. Both are unpacked into one folder.
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
    if (existsSync(vision)) {
      strip(models(vision, 'build-cuda-vision/Release/vision.node'))
      for (const library of foundBeside(vision, 'libnvjpeg.so.')) models(library, `build-cuda-vision/Release/${basename(library)}`)
    }
    for (const model of ['mtcnn', 'resnet128']) models(modelPath(model), `models/${model}.safetensors`)
    for (const file of GOLDEN) models(join(root, 'test/golden', file), `test/golden/${file}`)
    if (existsSync(photosFolder())) models(photosFolder(), 'cache/photos')
    for (const name of withNeeds(root, ['sharp', 'proper-lockfile', 'tar'])) models(join(root, 'node_modules', name), `node_modules/${name}`)
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

/** A library that the addon looks for, where its run path says. */
function foundBeside(addon, name) {
  const [, path = ''] = /\(RUNPATH\).*\[(.*)\]/.exec(execFileSync('readelf', ['-d', addon], { encoding: 'utf8' })) ?? []
  const folders = path.split(':').filter((folder) => folder.startsWith('/') && existsSync(folder))
  const [folder] = folders.filter((each) => readdirSync(each).some((file) => file.startsWith(name)))
  return folder === undefined ? [] : readdirSync(folder).filter((file) => file.startsWith(name)).map((file) => join(folder, file))
}

/** What faces and depth load: these packages and those that they depend on, as far as they are installed here. */
function withNeeds(root, names) {
  const all = new Set()
  const add = (name) => {
    const manifest = join(root, 'node_modules', name, 'package.json')
    if (all.has(name) || !existsSync(manifest)) return
    all.add(name)
    const { dependencies, optionalDependencies } = JSON.parse(readFileSync(manifest, 'utf8'))
    Object.keys({ ...dependencies, ...optionalDependencies }).forEach(add)
  }
  names.forEach(add)
  return all
}
