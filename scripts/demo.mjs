#!/usr/bin/env node
// The main job, from nothing: sets everything up, recognises faces in real photos and checks the answers.
//
//   npm run demo              a table, and pictures in demo-out/
//   npm run demo -- --json    one line of JSON on standard output; everything else on standard error
//
// Exit code 1 if a check fails.
import { relative } from 'node:path'
import { parseArgs } from 'node:util'
import { setup } from './setup.mjs'
import { duration, Report } from './setup/report.mjs'

const json = wantsJson()
await setup({ json, quiet: true, without: ['sqlite'] })

// Only now: the set-up installs and compiles what these need.
const { enrolled, recognise } = await import('./demo/recognise.mjs')
const { drawPhotos } = await import('./demo/draw.mjs')
const { printTable } = await import('./demo/table.mjs')

const stream = json ? process.stderr : process.stdout
const report = new Report({ stream })
const times = []

function wantsJson() {
  try {
    return parseArgs({ options: { json: { type: 'boolean', default: false } } }).values.json
  } catch (error) {
    process.stderr.write(`demo: ${error.message}\nusage: npm run demo [-- --json]\n`)
    process.exit(2)
  }
}

/** Does one step, remembers how long it took and shows what is going on if that is long. */
async function step(title, run) {
  const progress = report.begin({ title })
  try {
    const result = await run()
    times.push({ title, ms: progress.elapsed })
    return result
  } finally {
    progress.stop()
  }
}

try {
  const begin = performance.now()
  const { checks, photos, threshold } = await recognise(step)
  const pictures = await step('draw pictures', () => drawPhotos(photos))
  const passed = checks.every((check) => check.passed)

  if (json) {
    const answers = checks.map(({ name, index, found, score }) => ({ name, index, found, score }))
    process.stdout.write(`${JSON.stringify({ checks: answers })}\n`)
  } else {
    printTable({ stream, times, photos, checks, threshold, enrolled })
    report.line(`  Pictures   ${pictures.map((path) => relative(process.cwd(), path)).join('  ')}`)
    report.line(`  ${passed ? 'All four checks passed' : 'A check failed'} in ${duration(performance.now() - begin)}.`)
  }
  process.exitCode = passed ? 0 : 1
} catch (error) {
  // What the package says of a failure is made for people; anything else is a mistake in the code.
  process.stderr.write(`demo: ${error.code === undefined ? error.stack : `${error.message} (${error.code})`}\n`)
  process.exitCode = 1
}
