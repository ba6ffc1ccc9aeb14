import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { cacheFolder, projectFolder } from '../setup/paths.mjs'
import { debianPackage, finder, glibcOf, makeRelocatable, neededBy, unusedBy } from './elf.mjs'
import { askForOlderGlibc } from './older-glibc.mjs'

const require = createRequire(import.meta.url)

/** What every glibc system with Node on it has: glibc's parts, and the C++ library that Node itself is linked with. */
const SYSTEM = /^(libc|libm|libdl|libpthread|librt|ld-linux-x86-64|libstdc\+\+|libgcc_s)\.so\.\d+$/

/** What Node's own builds of versions 20 to 24 need. */
const NODES_GLIBC = 'GLIBC_2.28'

/** @faiss-vision/linux-x64: ann.node with the OpenMP that it was linked with. */
export function searchPackage(folder, { faissRoot }) {
  const { files, find } = prebuild(folder, 'ann')
  for (const file of files) askForOlderGlibc(file, NODES_GLIBC)
  licences(folder, {
    'faiss.txt': join(faissRoot ?? '', 'LICENSE'),
    'openblas.txt': '/usr/share/doc/libopenblas-openmp-dev/copyright',
    'xxhash.txt': '/usr/share/doc/libxxhash-dev/copyright',
    'gcc-libraries.txt': debianPackage(find('libgomp.so.1')).licence,
    'node-addon-api.txt': join(projectFolder, 'node_modules/node-addon-api/LICENSE.md'),
  })
  return { glibc: newestGlibc(files) }
}

/** @faiss-vision/vision-linux-x64: vision.node with its libtorch and every library that this uses. */
export function visionPackage(folder) {
  const { files, find } = prebuild(folder, 'vision')
  const rows = files.slice(1).map((file) => ({ file, from: debianPackage(find(basename(file))) }))
  const texts = Object.fromEntries(rows.map(({ from }) => [`${from.source}.txt`, from.licence]))
  licences(folder, {
    ...texts,
    'nlohmann-json.txt': '/usr/share/doc/nlohmann-json3-dev/copyright',
    'node-addon-api.txt': join(projectFolder, 'node_modules/node-addon-api/LICENSE.md'),
  })
  const glibc = newestGlibc(files)
  writeFileSync(join(folder, 'LIBRARIES.md'), libraries(rows, glibc))
  return { glibc }
}

/**
 * What node-gyp-build finds when the package is installed: prebuildify's prebuild of an addon, with cmake-js in the place of
 * node-gyp, and beside it the libraries that it uses, each looking for others in their folder.
 * @returns `files`, the addon first, and `find`, which says where a library is from
 */
function prebuild(folder, addon) {
  const prebuildify = [join(projectFolder, 'node_modules/prebuildify/bin.js'), '--napi', '--strip', '--tag-libc']
  const cmakeJs = join(projectFolder, 'scripts/release/cmake-js.mjs')
  execFileSync(process.execPath, [...prebuildify, '--name', addon, '--node-gyp', cmakeJs, '--cwd', folder], {
    stdio: 'inherit',
    env: { ...process.env, FAISS_VISION_ADDON: addon },
  })
  rmSync(join(folder, 'build'), { recursive: true }) // where prebuildify took it from

  const files = [join(folder, 'prebuilds/linux-x64', `${addon}.glibc.node`)]
  const find = finder(files[0])
  for (const file of files) {
    const needed = neededBy(file).filter((name) => !SYSTEM.test(name))
    const unused = unusedBy(file, needed, find)
    makeRelocatable(file, unused)
    for (const name of needed.filter((name) => !unused.includes(name))) {
      const copy = join(dirname(file), name)
      if (files.includes(copy)) continue
      cpSync(find(name), copy, { dereference: true })
      files.push(copy)
    }
  }
  return { files, find }
}

function libraries(rows, glibc) {
  const mebibytes = (size) => (size / 2 ** 20).toFixed(1)
  const lines = rows
    .map(({ file, from }) => ({ name: basename(file), size: statSync(file).size, from }))
    .sort((a, b) => b.size - a.size)
    .map(({ name, size, from }) => `| ${name} | ${from.name} ${from.version} | ${mebibytes(size)} | [text](licenses/${from.source}.txt) |`)
  const whole = rows.reduce((sum, { file }) => sum + statSync(file).size, 0)
  return `# Libraries beside vision.node

All of them are Debian's, ${rows.length} files of ${mebibytes(whole)} MiB together.
They need glibc ${glibc} or newer and GCC 12's C++ library, as Node has it there.

| file | package | MiB | licence |
| --- | --- | --- | --- |
${lines.join('\n')}
`
}

/** @faiss-vision/models: the converted weights, with the licences of the packages that they are from. */
export async function modelsPackage(folder) {
  const { MANIFEST } = require('../../dist/models/manifest.js')
  const { ensureOutputs } = require('../../dist/models/outputs.js')
  const { ensureModels } = require('../../dist/models/install.js')
  const { downloadsFolder } = require('../../dist/models/cache.js')
  const models = await ensureModels()
  for (const { file } of MANIFEST.models) cpSync(join(models, file), join(folder, file))

  const packages = LICENCES.map(({ name, file }) => ({ ...MANIFEST.packages.find((each) => each.name === name), files: [file] }))
  const outputs = LICENCES.map(({ name, file, to }) => ({ file: `licences/${to}`, recipe: { from: 'file', package: name, path: file.path } }))
  const kept = join(cacheFolder(), 'release')
  await ensureOutputs({ outputs, packages, folder: kept, downloads: downloadsFolder(), onProgress: () => {} })
  licences(folder, Object.fromEntries(LICENCES.map(({ to }) => [to, join(kept, 'licences', to)])))
  return {}
}

/** In the packages that lib/models/manifest.ts names, pinned like everything of theirs. */
const LICENCES = [
  {
    name: 'facenet-pytorch',
    to: 'facenet-pytorch.txt',
    file: {
      path: 'facenet_pytorch-2.6.0.dist-info/LICENSE.md',
      size: 1070,
      sha256: '9fac5781e1529f4dd1a045716e1859436038d2def9e108d101b6df20c5a11318',
    },
  },
  {
    name: '@vladmandic/face-api',
    to: 'face-api.txt',
    file: { path: 'LICENSE', size: 1067, sha256: '9a3442b79acaf4fbc7c2e07b7e2d8f84af9bb3871bf08a69d80304ab00640e9a' },
  },
]

function licences(folder, texts) {
  mkdirSync(join(folder, 'licenses'), { recursive: true })
  for (const [name, path] of Object.entries(texts)) {
    if (!existsSync(path)) throw new Error(`${path} is not there: without its licence ${basename(folder)} cannot be published`)
    cpSync(path, join(folder, 'licenses', name), { dereference: true })
  }
}

const newestGlibc = (files) => files.map(glibcOf).sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)

/** Bytes of a folder. */
export function sizeOf(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath ?? entry.path, entry.name)).size, 0)
}

export const emptied = (folder) => {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  return folder
}
