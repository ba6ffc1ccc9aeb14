#!/usr/bin/env node
// Checks and measures search on a GPU with what is built already: it needs Node, dist/ and build-cuda/Release/, and no network,
// compiler or node modules. Prints a report for docs/gpu.md.
//
//   node scripts/gpu-check.mjs [--device cuda:N] [--only NAME,...] [--minutes M] [--output FILE] [--rehearse]
//   node scripts/gpu-check.mjs --pack FOLDER
//
// Each file in scripts/gpu-check/ whose name begins with a number is a check of its own, in a process of its own: one that ends it
// does not end the others. Each is printed as soon as it is done; after --minutes (default 30) what still runs is stopped.
// --rehearse runs all of them small and on the processor, to try the checks themselves.
// --pack makes archives of what the checks need, Node included, for a machine that has none of it (docs/gpu.md).
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
        minutes: { type: 'string', default: '30' },
        pack: { type: 'string' },
      },
    }).values
  } catch (error) {
    stop(2, error.message)
  }
})()
if (!(Number(options.minutes) > 0)) stop(2, `--minutes must be a number above 0, got ${options.minutes}`)
if (options.pack !== undefined) {
  const { pack } = await import('./gpu-check/pack.mjs')
  for (const { file, bytes } of await pack(root, options.pack)) console.log(`${file}  ${(bytes / 2 ** 20).toFixed(1)} MiB`)
  process.exit(0)
}
// As --pack lays them out.
for (const [variable, name] of [['FAISS_VISION_MODELS', 'models'], ['FAISS_VISION_CACHE', 'cache']]) {
  if (existsSync(join(root, name, '.gpu-check'))) process.env[variable] ??= join(root, name)
}
const deadline = Date.now() + Number(options.minutes) * 60_000
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
  const { title, text, verdicts, problem } = await run(join(folder, name))
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

/** Runs one check and collects what it tells; unless it says that it has ended, it has failed. */
function run(file) {
  const result = { text: [], verdicts: [] }
  const left = deadline - Date.now()
  if (left <= 0) return { ...result, problem: `not begun within ${options.minutes} minutes` }
  return new Promise((resolve) => {
    const args = [file, options.rehearse ? 'cpu' : options.device]
    const child = fork(join(folder, 'child.mjs'), args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, left)
    child.on('message', ({ paragraph, verdict, ...more }) => {
      if (paragraph !== undefined) result.text.push(paragraph)
      if (verdict !== undefined) {
        result.verdicts.push(verdict)
        if (!verdict.ok) process.stderr.write(`  ${verdict.what}: ${verdict.measured}, wanted ${verdict.wanted}\n`)
      }
      Object.assign(result, more)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (late) result.problem = `stopped after ${options.minutes} minutes in all`
      else if (result.ended !== true) result.problem ??= `it ended with ${signal ?? `exit code ${code}`}`
      resolve(result)
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
