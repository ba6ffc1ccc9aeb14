import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'

// Section types of ELF, and of glibc's symbol versions (Linux Standard Base, "Symbol Versioning").
const DYNAMIC_SYMBOLS = 11
const VERSIONS_NEEDED = 0x6ffffffe
const VERSION_OF_SYMBOL = 0x6fffffff

const OLDEST = 'GLIBC_2.2.5' // of x86-64: what a function has had since the beginning
const UNVERSIONED = 1 // the loader takes a function's default version
// What came later, and has been the same since 2.3.4; the name of that version is not in libgomp.
const LATER = new Set(['pthread_setaffinity_np', 'pthread_getaffinity_np', 'pthread_attr_setaffinity_np'])

const isNewer = (version, than) => version.localeCompare(than, 'en', { numeric: true }) > 0

/**
 * Makes an x86-64 library that was linked against a new glibc load with an older one as well. A linker notes the newest version
 * of every function; where the same function is there under an older version too (glibc 2.34 gave libpthread's and libdl's a new
 * one when it took them over, 2.29 gave exp, log and pow a faster entry), that one is asked for instead.
 * @param newest for example 'GLIBC_2.28', what Node's own builds need
 * @throws where a function has no older version; native/addon/older_glibc.cpp has the three that ann.node would want
 */
export function askForOlderGlibc(file, newest) {
  const elf = readFileSync(file)
  const sections = sectionsOf(elf)
  const symbols = sections.find(({ type }) => type === DYNAMIC_SYMBOLS)
  const ofSymbol = sections.find(({ type }) => type === VERSION_OF_SYMBOL)
  const needed = sections.find(({ type }) => type === VERSIONS_NEEDED)
  const strings = sections[symbols.link].offset
  const text = (at) => elf.toString('latin1', strings + at, elf.indexOf(0, strings + at))

  const versions = new Map() // index -> where its entry is, and its name
  for (let entry = needed.offset, more = needed.info; more > 0; more--, entry += elf.readUInt32LE(entry + 12)) {
    let at = entry + elf.readUInt32LE(entry + 8)
    for (let count = elf.readUInt16LE(entry + 2); count > 0; count--, at += elf.readUInt32LE(at + 12)) {
      versions.set(elf.readUInt16LE(at + 6), { at, name: text(elf.readUInt32LE(at + 8)) })
    }
  }
  const tooNew = ({ name }) => name.startsWith('GLIBC_2.') && isNewer(name, newest)
  const [oldest, { at: source }] = [...versions].find(([, { name }]) => name === OLDEST)

  for (let i = 0; i < symbols.size / 24; i++) {
    const at = ofSymbol.offset + 2 * i
    const version = versions.get(elf.readUInt16LE(at) & 0x7fff)
    if (version === undefined || !tooNew(version)) continue
    const name = text(elf.readUInt32LE(symbols.offset + 24 * i))
    if (!LATER.has(name) && !offered().has(`${name}@${OLDEST}`)) throw new Error(`${file} needs ${name}, which is there since ${version.name} only`)
    elf.writeUInt16LE(LATER.has(name) ? UNVERSIONED : oldest, at)
  }
  // Nothing asks for these any more, but the loader would still look for them.
  for (const { at } of [...versions.values()].filter(tooNew)) {
    elf.copy(elf, at, source, source + 4) // the name's hash
    elf.copy(elf, at + 8, source + 8, source + 12) // the name
  }
  writeFileSync(file, elf)
}

function sectionsOf(elf) {
  const [start, size, count] = [Number(elf.readBigUInt64LE(40)), elf.readUInt16LE(58), elf.readUInt16LE(60)]
  return Array.from({ length: count }, (_, i) => {
    const at = start + i * size
    return {
      type: elf.readUInt32LE(at + 4),
      offset: Number(elf.readBigUInt64LE(at + 24)),
      size: Number(elf.readBigUInt64LE(at + 32)),
      link: elf.readUInt32LE(at + 40),
      info: elf.readUInt32LE(at + 44),
    }
  })
}

let known

/** function@version of this machine's glibc, the old ones included. */
function offered() {
  if (known === undefined) {
    const libraries = execFileSync('ldd', [process.execPath], { encoding: 'utf8' }).matchAll(/ (\/\S+\/lib(?:c|m|dl|pthread)\.so\.\d) /g)
    const lines = [...libraries].flatMap(([, path]) => execFileSync('nm', ['-D', '--defined-only', path], { encoding: 'utf8' }).split('\n'))
    known = new Set(lines.map((line) => line.split(' ').at(-1).replace('@@', '@')))
  }
  return known
}
