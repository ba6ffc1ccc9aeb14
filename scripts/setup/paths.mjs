import { homedir } from 'node:os'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { existsSync } from 'node:fs'

/** The project's folder. */
export const projectFolder = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/** The user's cache of everything that is made once: FAISS, models, photos, logs. */
export function cacheFolder(environment = process.env) {
  if (environment.FAISS_VISION_CACHE) return resolve(environment.FAISS_VISION_CACHE)
  // As in lib/models/cache.ts, which cannot be loaded before it is compiled: a relative path there counts as not set.
  const base = environment.XDG_CACHE_HOME
  return join(base && isAbsolute(base) ? base : join(homedir(), '.cache'), 'faiss-vision')
}

/** The full path of a command that PATH finds, without starting a process to ask. */
export function findCommand(name, environment = process.env) {
  // Debian keeps some tools out of an ordinary user's PATH.
  const folders = [...(environment.PATH ?? '').split(':'), '/usr/sbin', '/sbin']
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

/** The words that start npm: `npm run` says which one it is, and that one exists even where PATH has none. */
export function npmCommand(environment = process.env) {
  const npm = environment.npm_execpath ?? ''
  return basename(npm) === 'npm-cli.js' ? [process.execPath, npm] : ['npm']
}

/** For node-gyp: where Node's own headers are, where it came with them, so that there is nothing to download. */
export function nodeHeaders() {
  const prefix = dirname(dirname(process.execPath))
  return existsSync(join(prefix, 'include/node/node.h')) ? { npm_config_nodedir: prefix } : {}
}
