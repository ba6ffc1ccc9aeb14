#!/usr/bin/env node
// npm run pack [-- NAME...]: makes the packages of a release from what the set-up built here, as folders and tarballs in
// build/packages. NAME is main, service, search, vision or models; all without it.
//
//   --folders    no tarballs, which take a while for libtorch
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { faissFolder } from '../setup/faiss.mjs'
import { projectFolder } from '../setup/paths.mjs'
import { emptied, modelsPackage, searchPackage, sizeOf, visionPackage } from './companions.mjs'

const read = (path) => JSON.parse(readFileSync(path, 'utf8'))

/** In the order in which they are published: what the main package asks for comes first. */
export const packages = {
  search: { source: 'packages/linux-x64', fill: searchPackage },
  vision: { source: 'packages/vision-linux-x64', fill: visionPackage },
  models: { source: 'packages/models', fill: modelsPackage },
  main: { source: '.' },
  service: { source: 'packages/service' },
}

/**
 * Makes the package `name` in the folder `into`.
 * @returns its name and version, its folder, its size in bytes, the glibc that it needs and, if asked for, its tarball
 */
export async function pack(name, { tarball = true, into = join(projectFolder, 'build/packages') } = {}) {
  const { source, fill } = packages[name]
  const manifest = manifestOf(name)
  const folder = emptied(join(into, name))
  let about = {}
  if (fill === undefined) {
    unpackOwn(folder, join(projectFolder, source))
  } else {
    cpSync(join(projectFolder, source), folder, { recursive: true })
    about = (await fill(folder, { faissRoot: faissFolder() })) ?? {}
  }
  cpSync(join(projectFolder, 'LICENSE'), join(folder, 'LICENSE'))
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  const result = { package: manifest.name, version: manifest.version, folder, bytes: sizeOf(folder), ...about }
  return tarball ? { ...result, tarball: npmPack(folder, into) } : result
}

/** package.json as it is published. */
function manifestOf(name) {
  const own = read(join(projectFolder, packages[name].source, 'package.json'))
  const { version } = read(join(projectFolder, 'package.json'))
  if (name === 'service') return { ...own, version, peerDependencies: { 'faiss-vision': version } }
  if (name !== 'main') return { ...own, version }
  // Not in the repository's: a clone would ask the registry for what it builds itself.
  const search = read(join(projectFolder, packages.search.source, 'package.json')).name
  return { ...own, scripts: { install: 'node scripts/install.mjs' }, optionalDependencies: { [search]: version } }
}

/** What `files` in package.json names, as npm itself understands it. */
function unpackOwn(folder, source) {
  const work = mkdtempSync(join(tmpdir(), 'faiss-vision-pack-'))
  try {
    execFileSync('tar', ['-xzf', npmPack(source, work), '-C', folder, '--strip-components=1'])
  } finally {
    rmSync(work, { recursive: true })
  }
}

function npmPack(folder, into) {
  const text = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', into], { cwd: folder, encoding: 'utf8' })
  return join(into, Object.values(JSON.parse(text))[0].filename)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { folders: { type: 'boolean' } } })
  const unknown = positionals.find((name) => packages[name] === undefined)
  if (unknown !== undefined) {
    console.error(`pack: there is no package '${unknown}'; packages are ${Object.keys(packages).join(', ')}`)
    process.exit(2)
  }
  for (const name of positionals.length > 0 ? positionals : Object.keys(packages)) {
    const { package: id, version, folder, bytes, glibc, tarball } = await pack(name, { tarball: !values.folders })
    const needs = glibc === undefined ? '' : `, needs glibc ${glibc}`
    console.log(`${id}@${version}: ${(bytes / 2 ** 20).toFixed(1)} MiB unpacked${needs}  ${basename(tarball ?? folder)}`)
  }
}
