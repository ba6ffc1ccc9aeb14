import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from './paths.mjs'

/**
 * A virtual environment in the cache with these packages from PyPI, made once: its folder, its python, and the
 * commands that make it, none when it is ready.
 * @param bare packages that go without what they ask for: some ask for an old release of what is to be measured
 */
export function pythonEnvironment(name, packages, bare = []) {
  const hash = createHash('sha256').update([...packages, ...bare].join()).digest('hex').slice(0, 8)
  const folder = join(cacheFolder(), `${name}-${hash}`)
  const python = join(folder, 'bin/python')
  if (existsSync(join(folder, 'ready'))) return { folder, python, commands: [] }
  const install = [python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check']
  const commands = [
    ['python3', '-m', 'venv', '--clear', folder], // what an interrupted one left is no start
    [...install, ...packages],
  ]
  if (bare.length > 0) commands.push([...install, '--no-deps', ...bare])
  commands.push(['touch', join(folder, 'ready')])
  return { folder, python, commands }
}
