import { execFileSync } from 'node:child_process'
import { existsSync, realpathSync } from 'node:fs'
import { basename, join } from 'node:path'

const tool = (command, ...args) => execFileSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 28, stdio: ['ignore', 'pipe', 'pipe'] })

/** The names of the libraries that a library asks for. */
export function neededBy(file) {
  return tool('patchelf', '--print-needed', file).split('\n').filter(Boolean)
}

/** Those of `needed` of which the library uses no symbol: linkers note every library of the command line unless told otherwise. */
export function unusedBy(file, needed, find) {
  const wanted = new Set(symbols(file, '--undefined-only'))
  return needed.filter((name) => !symbols(find(name), '--defined-only').some((symbol) => wanted.has(symbol)))
}

function symbols(file, which) {
  return tool('nm', '-D', '-P', '--without-symbol-versions', which, file).split('\n').map((line) => line.split(' ', 1)[0]).filter(Boolean)
}

/** A function from a library's name to its path, as the dynamic loader would find it for `file`. */
export function finder(file) {
  const paths = new Map([...tool('ldd', file).matchAll(/^\s*(\S+) => (\S+) \(/gm)].map(([, name, path]) => [name, path]))
  return (name) => {
    const path = paths.get(name)
    if (path === undefined || !existsSync(path)) throw new Error(`${file}: ${name} was not found`)
    return path
  }
}

/** Makes a library look for others beside itself, and forget those that it does not use. */
export function makeRelocatable(file, unused) {
  // In one call patchelf 0.14 would do the second alone.
  if (unused.length > 0) tool('patchelf', ...unused.flatMap((name) => ['--remove-needed', name]), file)
  tool('patchelf', '--set-rpath', '$ORIGIN', file)
}

/** Debian's package that a file is from, with its version and its licence. */
export function debianPackage(path) {
  // Merged /usr: dpkg knows a file by the name that its package gave it.
  const names = [path, realpathSync(path)].flatMap((name) => [name, name.replace(/^\/usr/, '')])
  for (const name of names) {
    try {
      const found = tool('dpkg', '-S', name).split(':', 1)[0]
      const [version, source] = tool('dpkg-query', '-W', '-f', '${Version}\\n${source:Package}', found).split('\n')
      return { name: found, version, source, licence: join('/usr/share/doc', found, 'copyright') }
    } catch {
      // the next name
    }
  }
  throw new Error(`${path} is of no Debian package, so its licence is not known: ${basename(path)} cannot be published`)
}

/** The newest version of glibc that a file asks for. */
export function glibcOf(file) {
  const versions = [...tool('objdump', '-T', file).matchAll(/GLIBC_([\d.]+)/g)].map(([, version]) => version)
  return versions.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)
}
