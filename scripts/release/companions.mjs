import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, join } from 'node:path'
import { cacheFolder, projectFolder } from '../setup/paths.mjs'
import { debianPackage, finder, glibcOf, makeRelocatable, neededBy, unusedBy } from './elf.mjs'
import { askForOlderGlibc } from './older-glibc.mjs'

const require = createRequire(import.meta.url)

/** What every glibc system with Node on it has: glibc's parts, and the C++ library that Node itself is linked with. */
const SYSTEM = /^(libc|libm|libdl|libpthread|librt|ld-linux-x86-64|libstdc\+\+|libgcc_s)\.so\.\d+$/

/** What Node's own builds of versions 20 to 24 need. */
const NODES_GLIBC = 'GLIBC_2.28'

const built = (name) => {
  const path = join(projectFolder, 'build/Release', name)
  if (!existsSync(path)) throw new Error(`${path} is not there: npm run setup builds it`)
  return path
}

/** @faiss-vision/linux-x64: ann.node with the OpenMP that it was linked with. */
export function searchPackage(folder, { faissRoot }) {
  cpSync(built('ann.node'), join(folder, 'ann.node'))
  const find = finder(join(folder, 'ann.node'))
  const beside = neededBy(join(folder, 'ann.node')).filter((name) => !SYSTEM.test(name))
  for (const name of beside) cpSync(find(name), join(folder, name), { dereference: true })
  for (const name of ['ann.node', ...beside]) {
    makeRelocatable(join(folder, name), { strip: true })
    askForOlderGlibc(join(folder, name), NODES_GLIBC)
  }

  licences(folder, {
    'faiss.txt': join(faissRoot ?? '', 'LICENSE'),
    'openblas.txt': '/usr/share/doc/libopenblas-openmp-dev/copyright',
    'xxhash.txt': '/usr/share/doc/libxxhash-dev/copyright',
    'gcc-libraries.txt': debianPackage(find('libgomp.so.1')).licence,
    'node-addon-api.txt': join(projectFolder, 'node_modules/node-addon-api/LICENSE.md'),
  })
  return { glibc: newest(['ann.node', ...beside].map((name) => glibcOf(join(folder, name)))) }
}

/** @faiss-vision/vision-linux-x64: vision.node with its libtorch and every library that this uses. */
export function visionPackage(folder) {
  const addon = built('vision.node')
  const find = finder(addon)
  cpSync(addon, join(folder, 'vision.node'))
  const rows = []
  const waiting = [addon]
  const seen = new Set()
  for (const file of waiting) {
    const needed = neededBy(file)
    const unused = unusedBy(file, needed.filter((name) => !SYSTEM.test(name)), find)
    const copy = join(folder, file === addon ? 'vision.node' : nameOf.get(file))
    makeRelocatable(copy, { strip: file === addon, unused })
    for (const name of needed) {
      if (SYSTEM.test(name) || unused.includes(name) || seen.has(name)) continue
      seen.add(name)
      const path = find(name)
      nameOf.set(path, name)
      cpSync(path, join(folder, name), { dereference: true })
      waiting.push(path)
      rows.push({ name, from: debianPackage(path) })
    }
  }
  const texts = Object.fromEntries(rows.map(({ from }) => [`${from.source}.txt`, from.licence]))
  licences(folder, {
    ...texts,
    'nlohmann-json.txt': '/usr/share/doc/nlohmann-json3-dev/copyright',
    'node-addon-api.txt': join(projectFolder, 'node_modules/node-addon-api/LICENSE.md'),
  })
  const glibc = newest(['vision.node', ...rows.map(({ name }) => name)].map((name) => glibcOf(join(folder, name))))
  writeFileSync(join(folder, 'LIBRARIES.md'), libraries(folder, rows, glibc))
  return { glibc }
}

const nameOf = new Map() // a library's path -> the name that others ask for it by

function libraries(folder, rows, glibc) {
  const size = (name) => (statSync(join(folder, name)).size / 2 ** 20).toFixed(1)
  const lines = rows
    .sort((a, b) => statSync(join(folder, b.name)).size - statSync(join(folder, a.name)).size)
    .map(({ name, from }) => `| ${name} | ${from.name} ${from.version} | ${size(name)} | [text](licenses/${from.source}.txt) |`)
  return `# Libraries beside vision.node

All of them are Debian's. They need glibc ${glibc} or newer and GCC 12's C++ library, as Node has it there.

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

const newest = (versions) => versions.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)

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
