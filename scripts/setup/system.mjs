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
 * The x86-64 level (psABI) that FAISS is compiled for: v3 where the processor has it, so that what is built here is what is
 * published. v4 brings FAISS nothing (some index types are faster with it, as many slower); what does profit from AVX-512, our
 * own kernels and OpenBLAS's, looks at the processor when it runs. undefined elsewhere: the compiler's own default.
 */
export function instructionSet() {
  if (process.arch !== 'x64') return undefined
  const flags = new Set(/^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1].split(' '))
  return 'avx avx2 bmi1 bmi2 f16c fma abm movbe'.split(' ').every((name) => flags.has(name)) ? 'x86-64-v3' : undefined
}
