#!/usr/bin/env node
// Checks and measures search on a GPU with what is built already: it needs Node, dist/ and build-cuda/Release/, and no network,
// compiler or node modules. Prints a report for docs/gpu.md.
//
//   node scripts/gpu-check.mjs [--device cuda:N] [--only NAME,...] [--output FILE] [--rehearse]
//
// Each file in scripts/gpu-check/ is a check of its own, in a process of its own: one that ends it does not end the others.
// --rehearse runs all of them small and on the processor, to try the checks themselves.
//
// Exit code: 0 all passed, 1 one did not, 2 a mistake in the call, 3 no GPU can be used (the reason is printed).
import { fork } from 'node:child_process'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { table } from '../bench/report.mjs'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const folder = join(root, 'scripts/gpu-check')
const names = readdirSync(folder).filter((file) => /^\d.*\.mjs$/.test(file)).sort()

const options = (() => {
  try {
    return parseArgs({
      options: {
        device: { type: 'string', default: 'cuda:0' },
        only: { type: 'string' },
        output: { type: 'string' },
        rehearse: { type: 'boolean', default: false },
      },
    }).values
  } catch (error) {
    stop(2, error.message)
  }
})()
const wanted = options.only?.split(',') ?? names.map(nameOf)
const unknown = wanted.find((name) => !names.map(nameOf).includes(name))
if (unknown !== undefined) stop(2, `there is no check '${unknown}'; checks are ${names.map(nameOf).join(', ')}`)
if (!existsSync(join(root, 'dist/info.js'))) stop(2, 'dist/ is missing: npm run setup makes it')

const { version, search, vision, cuda } = createRequire(import.meta.url)(join(root, 'dist/info.js')).info()
const device = options.rehearse ? undefined : cuda.devices.find((each) => each.device === options.device)
if (!options.rehearse) {
  if (cuda.reason !== undefined) stop(3, `no GPU can be used: ${cuda.reason}`)
  if (device === undefined) stop(2, `there is no ${options.device}; there are ${cuda.devices.map((each) => each.device).join(', ')}`)
}

const parts = []
say(options.rehearse ? '## A rehearsal on the processor: no figure of a GPU' : `## ${device.name}`)
say(
  [
    device && `- ${device.device}: ${device.name}, compute capability ${device.capability}, ${(device.memory / 2 ** 30).toFixed(0)} GiB`,
    `- ${cpus()[0].model.trim()}, ${cpus().length} threads, Node ${process.versions.node}`,
    cuda.driver && `- the driver supports CUDA ${cuda.driver}; built with ${cuda.runtime} for ${cuda.architectures}; cuBLAS ${cuda.cublas}`,
    `- faiss-vision ${version}, FAISS ${search.faiss}, ${vision.torch ? `libtorch ${vision.torch}` : 'no vision.node'}`,
  ]
    .filter(Boolean)
    .join('\n'),
)

let failures = 0
for (const name of names.filter((each) => wanted.includes(nameOf(each)))) {
  process.stderr.write(`${nameOf(name)} ...\n`)
  const { title, text = [], verdicts = [], problem } = await run(join(folder, name))
  say(`### ${title ?? nameOf(name)}`)
  for (const paragraph of text) say(paragraph)
  if (problem !== undefined) verdicts.push({ what: 'it ran to its end', ok: false, measured: problem, wanted: 'no error' })
  failures += verdicts.filter(({ ok }) => !ok).length
  const rows = verdicts.map(({ what, ok, measured, wanted: bound }) => [what, String(measured), String(bound), ok ? 'yes' : '**no**'])
  if (rows.length > 0) say(table(['', 'measured', 'wanted', 'passed'], rows))
}
say(failures === 0 ? 'All checks passed.' : `${failures} did not pass.`)
if (options.output !== undefined) writeFileSync(options.output, `${parts.join('\n\n')}\n`)
process.exitCode = failures === 0 ? 0 : 1

/** Runs one check; what it sends is its result, and without one it has failed. */
function run(file) {
  return new Promise((resolve) => {
    const args = [file, options.rehearse ? 'cpu' : options.device]
    const child = fork(join(folder, 'child.mjs'), args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    let result
    child.on('message', (message) => (result = message))
    child.on('exit', (code, signal) => {
      const ended = code === 0 ? undefined : `it ended with ${signal ?? `exit code ${code}`}`
      const problem = result?.problem ?? ended
      resolve({ ...result, ...((result === undefined || problem !== undefined) && { problem: problem ?? 'it gave no result' }) })
    })
  })
}

function nameOf(file) {
  return file.replace(/^\d+-|\.mjs$/g, '')
}

function say(text) {
  parts.push(text)
  console.log(`${text}\n`)
}

function stop(code, reason) {
  console.error(`gpu-check: ${reason}`)
  process.exit(code)
}
