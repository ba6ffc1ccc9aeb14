#!/usr/bin/env node
// Everything between a fresh clone and a running program: system packages, FAISS, node modules,
// TypeScript, both addons, models, for tests a Milvus server. Uses nothing but Node, as it runs before anything is installed.
//
//   node scripts/setup.mjs [--only STEP,...] [--cuda] [--tests] [--quiet]
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { SetupError } from './setup/errors.mjs'
import { takeLock } from './setup/lock.mjs'
import { cacheFolder, projectFolder } from './setup/paths.mjs'
import { duration, Report } from './setup/report.mjs'
import { optionalSteps, steps } from './setup/steps.mjs'

const allSteps = [...steps, ...optionalSteps]

/**
 * Does every step that is not done yet. A step that fails is reported, and the process ends with exit
 * code 1: nothing that needs the set-up can go on without it.
 *
 * quiet: tell only about the steps that take long enough to be noticed.
 * json: tell everything on standard error; standard output is the caller's.
 * tests: build the C++ tests as well, and fetch what only tests need.
 * cuda: build both addons once more, for CUDA, into build-cuda and build-cuda-vision; GPU architectures are FAISS_VISION_CUDA_ARCHITECTURES.
 * only: names of the steps to look at; all without it, but for the optional ones.
 * without: names of steps to leave out.
 * published: what of `search` and `vision` to build where this is no clone but an installed package; it has no tests and no
 * models of its own, and system packages are the user's to install.
 * tools: the node_modules with cmake-js and node-addon-api, where it is not the project's own.
 * Returns the folder of the FAISS in use, undefined where CMake finds it by itself.
 */
export async function setup({ quiet = false, json = false, tests = false, cuda = false, only, without = [], published, tools } = {}) {
  const begin = performance.now()
  const report = new Report({ stream: json ? process.stderr : process.stdout, quiet })
  const cache = cacheFolder()
  const context = {
    folder: projectFolder,
    cache,
    tests,
    only,
    published,
    tools,
    // A package must not start a build of OpenCV of its own when it is installed.
    environment: { ...process.env, OPENCV4NODEJS_DISABLE_AUTOBUILD: '1' },
  }
  let unlock

  // Once built for CUDA it is kept up to date: where there is such a build it is the one that is loaded.
  cuda ||= published === undefined && ['build-cuda', 'build-cuda-vision'].some((build) => existsSync(join(projectFolder, build, '.setup.json')))
  const wanted = ({ name, forTests, forCuda }) =>
    !without.includes(name) && (only === undefined ? (tests || !forTests) && (cuda || !forCuda) : only.includes(name))
  for (const step of (only === undefined ? steps : allSteps).filter(wanted)) {
    context.log = join(cache, 'logs', `${step.name}.log`)
    const progress = report.begin(step)
    try {
      let note = await step.done(context)
      if (note === undefined && unlock === undefined && !step.locksItself) {
        unlock = await takeLock(join(cache, 'setup.lock'), (holder) => progress.wait(`waiting for another set-up (${holder})`))
        // The other one may have done it.
        note = await step.done(context)
      }
      if (note === undefined) {
        rmSync(context.log, { force: true })
        note = await step.run(context, progress)
      }
      progress.done(note)
    } catch (error) {
      progress.stop()
      report.line(failure(step, error, progress.elapsed))
      process.exit(1)
    }
  }
  await unlock?.()
  if (!quiet) report.line(`  set up in ${duration(performance.now() - begin)}`)
  return { faissRoot: context.faissRoot }
}

function failure(step, error, elapsed) {
  const lines = [`  ${step.title}: failed after ${duration(elapsed)}: ${error.message}`]
  if (!(error instanceof SetupError)) lines.push(error.stack)
  if (error.command !== undefined) lines.push('', `the command: ${error.command}`)
  if (error.tail?.length > 0) lines.push('', 'the last lines of its output:', '', ...error.tail.map((line) => `    ${line}`))
  if (error.log !== undefined) lines.push('', `the whole of it: ${error.log}`)
  lines.push('', error.advice ?? step.advice)
  return lines.join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { only: { type: 'string' }, cuda: { type: 'boolean' }, tests: { type: 'boolean' }, quiet: { type: 'boolean' } },
  })
  const only = values.only?.split(',')
  const unknown = only?.find((name) => !allSteps.some((step) => step.name === name))
  if (unknown !== undefined) {
    console.error(`setup: --only takes ${allSteps.map((step) => step.name).join(', ')}; there is no step '${unknown}'`)
    process.exit(2)
  }
  await setup({ ...values, only })
}
