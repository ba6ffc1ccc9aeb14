#!/usr/bin/env node
// npm's install script of the published package. It does nothing unless it is asked for a build from source:
//
//   FAISS_VISION_BUILD=1        both addons        npm_config_build_from_source (npm's --build-from-source) is the same
//   FAISS_VISION_BUILD=search   ann.node alone
//   FAISS_VISION_BUILD=vision   vision.node alone, against the libtorch that Torch_DIR names or the system's
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder, npmCommand, projectFolder } from './setup/paths.mjs'

const wanted = (() => {
  const { FAISS_VISION_BUILD: own = '', npm_config_build_from_source: general = '' } = process.env
  if (own === '' || own === '0') return general === 'true' || general.split(',').includes('faiss-vision') ? ['search', 'vision'] : []
  if (own === '1') return ['search', 'vision']
  if (own === 'search' || own === 'vision') return [own]
  throw new Error(`FAISS_VISION_BUILD is '${own}'; it takes 1, search or vision`)
})()

if (wanted.length > 0) {
  const { setup } = await import('./setup.mjs')
  await setup({ published: wanted, tools: buildTools(), only: ['packages', ...(wanted.includes('search') ? ['faiss'] : []), 'addons'] })
}

/**
 * The node modules that a build needs and a program never does: in the cache, installed when a build is asked for.
 */
function buildTools() {
  const { devDependencies } = JSON.parse(readFileSync(join(projectFolder, 'package.json'), 'utf8'))
  const names = ['cmake-js', 'node-addon-api'].map((name) => `${name}@${devDependencies[name]}`)
  const folder = join(cacheFolder(), 'build-tools')
  const [command, ...prefix] = npmCommand()
  // The script of this package must not run once more, nor any other.
  const options = ['--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--no-save', '--global=false']
  execFileSync(command, [...prefix, 'install', ...options, ...names], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, npm_config_build_from_source: '', FAISS_VISION_BUILD: '' },
  })
  return join(folder, 'node_modules')
}
