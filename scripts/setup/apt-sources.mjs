import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

// FAISS is in Debian's main and in Ubuntu's universe; other components and other people's
// repositories for the same release would only be lists to download in vain.
const COMPONENTS = new Set(['main', 'universe'])

/**
 * The machine's apt sources as sources of source packages, in deb822 form (sources.list(5)): every
 * enabled source of the given release, with its -updates and -security suites, options and keys kept.
 * `folder` is /etc/apt, `codename` the release's name.
 */
export function sourcePackageSources(folder, codename) {
  const stanzas = sourceFiles(folder).flatMap(parseFile)
  // Debian's testing and unstable are mostly named by their role, not by the name in os-release.
  for (const names of [[codename], ['stable'], ['testing'], ['unstable', 'sid']]) {
    const texts = stanzas.map((stanza) => asSourceOfSources(stanza, names)).filter((text) => text !== undefined)
    // A machine that has deb-src lines already, or a source twice, gives the same stanza twice.
    if (texts.length > 0) return [...new Set(texts)].join('\n')
  }
  return ''
}

function asSourceOfSources(stanza, releases) {
  const fields = {
    ...stanza,
    Types: 'deb-src',
    Suites: keep(stanza.Suites, (suite) => releases.includes(suite.replace(/[-/](updates|security)$/, ''))),
    Components: keep(stanza.Components, (component) => COMPONENTS.has(component)),
  }
  if (fields.Suites === '' || fields.Components === '') return undefined
  return Object.entries(fields).map(([name, value]) => `${name}: ${value}\n`).join('')
}

function sourceFiles(folder) {
  const files = [join(folder, 'sources.list')]
  try {
    files.push(...readdirSync(join(folder, 'sources.list.d')).sort().map((name) => join(folder, 'sources.list.d', name)))
  } catch {
    // A machine may have only the one file.
  }
  return files.filter((file) => /\.(list|sources)$/.test(file) && statSync(file, { throwIfNoEntry: false })?.isFile())
}

function parseFile(file) {
  const text = readFileSync(file, 'utf8')
  const stanzas = file.endsWith('.sources') ? text.split(/\n[ \t]*\n/).map(parseStanza) : text.split('\n').map(parseLine)
  return stanzas.filter((stanza) => stanza !== undefined)
}

/** One stanza of a .sources file; undefined when it is empty or disabled. */
function parseStanza(text) {
  const stanza = {}
  let field
  for (const line of text.split('\n')) {
    if (line.startsWith('#') || line.trim() === '') continue
    const match = /^([A-Za-z][\w-]*):\s*(.*)$/.exec(line)
    if (match !== null) {
      field = canonicalField(match[1])
      stanza[field] = match[2]
    } else if (field !== undefined) {
      stanza[field] += `\n${line}` // a key written out, line by line
    }
  }
  const disabled = /^(no|false|off|0)$/i.test(stanza.Enabled ?? '')
  const complete = stanza.URIs !== undefined && stanza.Suites !== undefined && stanza.Components !== undefined
  return complete && !disabled ? stanza : undefined
}

/** One line of a .list file, "deb [option=value ...] URI suite component ..."; undefined when it is none. */
function parseLine(line) {
  const match = /^\s*deb(?:-src)?\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line)
  if (match === null) return undefined
  const [, options = '', URIs, Suites, Components] = match
  const stanza = { Types: 'deb', URIs, Suites, Components: Components.trim() }
  for (const option of options.split(/\s+/).filter(Boolean)) {
    const at = option.search(/[+-]?=/)
    const name = canonicalField(option.slice(0, at))
    stanza[name] = option.slice(option.indexOf('=') + 1).replaceAll(',', ' ')
  }
  delete stanza.Arch // a source package has no architecture
  return stanza
}

/** Field names are the same in any case; ours are spelt as the manual spells them. */
function canonicalField(name) {
  const lower = name.toLowerCase()
  return { uris: 'URIs' }[lower] ?? lower.replace(/(^|-)([a-z])/g, (_, dash, letter) => dash + letter.toUpperCase())
}

function keep(words, wanted) {
  return words.split(/\s+/).filter(wanted).join(' ')
}
