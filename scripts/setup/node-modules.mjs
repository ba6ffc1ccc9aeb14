import { join } from 'node:path'
import { readJson } from './fingerprint.mjs'
import { npmCommand } from './paths.mjs'
import { run } from './run.mjs'

export const nodeModules = {
  name: 'node-modules',
  title: 'node modules',
  work: 'npm ci',
  advice: "npm's own message above says what is wrong. After mending it, run this again.",

  async done({ folder }) {
    return isInstalled(folder) ? 'installed' : undefined
  },

  async run(context, progress) {
    progress.update('npm ci')
    const [command, ...prefix] = npmCommand(context.environment)
    // Of the packages' own scripts only better-sqlite3's does something that is needed: the step sqlite runs it.
    await run(command, [...prefix, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: context.folder,
      log: context.log,
      environment: context.environment,
    })
    return 'installed'
  },
}

/** Whether node_modules has every package of package-lock.json in its version, by npm's own record of it. */
function isInstalled(folder) {
  const wanted = readJson(join(folder, 'package-lock.json'))?.packages
  const present = readJson(join(folder, 'node_modules/.package-lock.json'))?.packages
  if (wanted === undefined || present === undefined) return false
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true // the project itself
    // Optional ones are for other platforms, unless they are there.
    return present[path] === undefined ? optional === true : present[path].version === version
  })
}
