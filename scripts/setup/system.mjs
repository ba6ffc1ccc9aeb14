import { readFileSync } from 'node:fs'

/** The fields of /etc/os-release: ID, VERSION_ID, VERSION_CODENAME, ... */
export function osRelease() {
  let text = ''
  for (const path of ['/etc/os-release', '/usr/lib/os-release']) {
    try {
      text = readFileSync(path, 'utf8')
      break
    } catch {
      // The second path is the standard's fallback; without either the system is unknown.
    }
  }
  return Object.fromEntries(
    [...text.matchAll(/^(\w+)=(["']?)(.*)\2$/gm)].map(([, name, , value]) => [name, value]),
  )
}

/**
 * The highest x86-64 level (psABI) that this processor has, as far as FAISS profits from it;
 * undefined on other processors, which the compiler's own default suits.
 */
export function instructionSet() {
  if (process.arch !== 'x64') return undefined
  const flags = new Set(/^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1].split(' '))
  const has = (names) => names.split(' ').every((name) => flags.has(name))
  if (!has('avx avx2 bmi1 bmi2 f16c fma abm movbe')) return undefined
  return has('avx512f avx512bw avx512cd avx512dq avx512vl') ? 'x86-64-v4' : 'x86-64-v3'
}
