#!/usr/bin/env node
// npm test [-- PATTERN...]: sets up, then runs the C++ tests (GoogleTest) and the TypeScript tests (vitest).
// The last line sums both up: "N passed, N failed", and "N skipped" if any were. A runner that crashes or
// runs nothing counts as a failure. PATTERN picks test files by a part of their name.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setup } from './setup.mjs'
import { testPrograms } from './setup/addons.mjs'
import { readJson } from './setup/fingerprint.mjs'
import { projectFolder } from './setup/paths.mjs'
import { duration } from './setup/report.mjs'

const TAIL_LINES = 30

const patterns = process.argv.slice(2)
const sum = { passed: 0, failed: 0, skipped: 0 }
let finished = false
// On exit, so that the sum is the last line even when the set-up ends the process.
process.on('exit', () => {
  if (!finished || sum.passed + sum.failed + sum.skipped === 0) sum.failed++
  console.log(`\n${sum.passed} passed, ${sum.failed} failed${sum.skipped > 0 ? `, ${sum.skipped} skipped` : ''}`)
  if (sum.failed > 0) process.exitCode = 1
})

await setup({ tests: true })
const results = mkdtempSync(join(tmpdir(), 'faiss-vision-tests-'))
try {
  const programs = testPrograms(projectFolder).filter((path) => matches(basename(path)))
  if (programs.length === 0 && patterns.length === 0) fail('there is no C++ test program in build/test')
  for (const program of programs) await runGoogleTest(program)
  await runVitest({ mayBeEmpty: programs.length > 0 && patterns.length > 0 })
  finished = true
} finally {
  rmSync(results, { recursive: true, force: true })
}

function matches(name) {
  return patterns.length === 0 || patterns.some((pattern) => name.includes(pattern))
}

function fail(message) {
  sum.failed++
  console.log(`FAILED ${message}`)
}

async function runGoogleTest(program) {
  const name = basename(program)
  const file = join(results, `${name}.json`)
  const begin = performance.now()
  const { status, output } = await execute(join(projectFolder, 'build', program), [`--gtest_output=json:${file}`])
  const tests = (readJson(file)?.testsuites ?? []).flatMap((suite) => suite.testsuite)

  const failed = tests.filter((test) => test.failures?.length > 0)
  const skipped = tests.filter((test) => test.failures === undefined && test.result !== 'COMPLETED')
  const passed = tests.length - failed.length - skipped.length
  sum.passed += passed
  sum.failed += failed.length
  sum.skipped += skipped.length
  console.log(`${name}: ${passed} passed, ${failed.length} failed, ${skipped.length} skipped (${duration(performance.now() - begin)})`)

  for (const test of failed) {
    console.log(`  FAILED ${test.classname}.${test.name}`)
    for (const { failure } of test.failures) console.log(failure.replace(/^/gm, '    '))
  }
  // A crash leaves no results, and leaks and data races that a sanitizer finds at the end fail no test.
  if ((status !== 0 && failed.length === 0) || tests.length === 0) {
    fail(`${name}: ${status === 0 ? 'it ran no test' : `it ended with ${status}`}; the last lines of its output:`)
    console.log(output.trimEnd().split('\n').slice(-TAIL_LINES).join('\n').replace(/^/gm, '    '))
  }
}

async function runVitest({ mayBeEmpty }) {
  const file = join(results, 'vitest.json')
  const args = ['node_modules/vitest/vitest.mjs', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
  if (mayBeEmpty) args.push('--passWithNoTests')
  const { status } = await execute(process.execPath, [...args, ...patterns], { show: true })

  const report = readJson(file) ?? { testResults: [] }
  const tests = report.testResults.flatMap((result) => result.assertionResults)
  const count = (wanted) => tests.filter((test) => test.status === wanted).length
  const passed = count('passed')
  // A file that cannot even be loaded has failed without a test of its own that says so.
  const broken = report.testResults.filter((result) => result.status === 'failed' && !result.assertionResults.some((test) => test.status === 'failed'))
  const failed = count('failed') + broken.length
  sum.passed += passed
  sum.failed += failed
  sum.skipped += tests.length - passed - count('failed')

  // Errors outside any test and a crash of vitest itself appear in no test's result.
  if (status !== 0 && failed === 0) fail(`vitest ended with ${status}`)
  else if (tests.length === 0 && failed === 0 && !mayBeEmpty) fail('vitest ran no test')
}

/** Runs a program without standard input; its output is shown, or else collected and given back. */
function execute(command, args, { show = false } = {}) {
  const child = spawn(command, args, { cwd: projectFolder, stdio: show ? ['ignore', 'inherit', 'inherit'] : ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of show ? [] : [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ status: error.message, output }))
    child.once('close', (code, signal) => resolve({ status: code === 0 ? 0 : signal ?? `exit code ${code}`, output }))
  })
}
