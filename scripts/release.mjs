#!/usr/bin/env node
// npm run release -- VERSION [--publish]: everything from a clean tree to packages that are ready to be published.
// Without --publish it is a dry run: nothing is sent, and the tree is left as it was.
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { emptied } from './release/companions.mjs'
import { pack, packages } from './release/pack.mjs'
import { setup } from './setup.mjs'
import { projectFolder } from './setup/paths.mjs'

const usage = 'usage: npm run release -- VERSION [--publish]'
const { values, positionals } = parseArgs({ allowPositionals: true, options: { publish: { type: 'boolean', default: false } } })
const [version] = positionals
if (positionals.length !== 1 || !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) {
  console.error(`release: ${version === undefined ? 'a version is missing' : `${positionals.join(' ')} is no version`}\n${usage}`)
  process.exit(2)
}

const at = (path) => join(projectFolder, path)
const show = (command, ...args) => execFileSync(command, args, { cwd: projectFolder, stdio: 'inherit' })
const ask = (command, ...args) => execFileSync(command, args, { cwd: projectFolder, encoding: 'utf8' }).trim()
const step = (text) => console.log(`\n== ${text}`)

/** The files that say the version; the companions take the main package's when they are packed. */
const VERSIONED = ['package.json', 'package-lock.json', 'CHANGELOG.md']

function setVersion() {
  show('npm', 'version', version, '--no-git-tag-version', '--allow-same-version', '--loglevel=error')
  const manifest = JSON.parse(readFileSync(at('package.json'), 'utf8'))
  for (const name of Object.keys(manifest.peerDependencies)) if (name.startsWith('@faiss-vision/')) manifest.peerDependencies[name] = version
  writeFileSync(at('package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  show('npm', 'install', '--package-lock-only', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error')

  // What is written under "Unreleased" is what this release brings.
  const changelog = readFileSync(at('CHANGELOG.md'), 'utf8')
  const [, news = ''] = /^## Unreleased\n([^]*?)(?=^## |$(?![^]))/m.exec(changelog) ?? []
  if (news.trim() === '') throw new Error('CHANGELOG.md says nothing under "## Unreleased"')
  const today = new Date().toISOString().slice(0, 10)
  writeFileSync(at('CHANGELOG.md'), changelog.replace('## Unreleased\n', `## Unreleased\n\n## ${version}, ${today}\n`))
  console.log(news.trim())
}

if (ask('git', 'status', '--porcelain') !== '') throw new Error('there are changes that are not committed')
const before = VERSIONED.map((path) => [at(path), readFileSync(at(path))])
const published = []
try {
  step(`version ${version}, and what is new`)
  setVersion()

  step('the addons, built from scratch')
  rmSync(at('build'), { recursive: true, force: true })
  await setup({ only: ['packages', 'faiss', 'node-modules', 'typescript', 'addons', 'models'] })

  step('packages')
  const into = emptied(at('build/packages'))
  for (const name of Object.keys(packages)) {
    const { package: id, bytes, glibc, tarball } = await pack(name, { into })
    published.push(tarball)
    console.log(`${id}@${version}: ${(bytes / 2 ** 20).toFixed(1)} MiB unpacked${glibc ? `, needs glibc ${glibc}` : ''}`)
  }

  step('tests of what is installed')
  show('npm', 'test', '--', 'install', 'bundlers', 'package')
  show('bash', 'scripts/try-install.sh', at('build/trial'))
} finally {
  if (!values.publish) for (const [path, content] of before) writeFileSync(path, content)
}

if (values.publish) {
  step('publishing')
  show('git', 'commit', '-am', `Release ${version}`)
  show('git', 'tag', `v${version}`)
  for (const tarball of published) show('npm', 'publish', tarball, '--access', 'public', '--provenance')
  console.log(`\nPublished. git push --follow-tags is left to you.`)
} else {
  step('dry run: nothing was published and the version is what it was. With --publish these would be sent, in this order:')
  for (const tarball of published) console.log(`npm publish ${tarball} --access public --provenance`)
}
