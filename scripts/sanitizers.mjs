#!/usr/bin/env node
// npm run test:sanitizers: the C++ tests once more under the address and undefined-behaviour sanitizers, then under the
// thread sanitizer, the mixture of operations from many threads for a minute. OpenMP's own threads are not instrumented, so there the libraries compute on one thread.
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setup } from './setup.mjs'
import { projectFolder } from './setup/paths.mjs'

const runs = [
  { name: 'address', sanitizers: 'address,undefined', environment: { UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1' } },
  { name: 'thread', sanitizers: 'thread', environment: { OMP_NUM_THREADS: '1', TSAN_OPTIONS: 'halt_on_error=1' } },
]

const { faissRoot } = await setup({ quiet: true })
let failed = 0
for (const { name, sanitizers, environment } of runs) {
  const folder = join(projectFolder, 'build', `sanitize-${name}`)
  run('cmake', ['-G', 'Ninja', '-S', projectFolder, '-B', folder, '-DFAISS_VISION_TESTS=ON', `-DFAISS_VISION_SANITIZE=${sanitizers}`, ...(faissRoot === undefined ? [] : [`-Dfaiss_ROOT=${faissRoot}`])])
  run('cmake', ['--build', folder, '--parallel', String(Math.min(2, availableParallelism()))])
  for (const program of readdirSync(join(folder, 'test')).filter((file) => file.endsWith('_test'))) {
    const { status } = spawnSync(join(folder, 'test', program), { stdio: 'inherit', env: { FAISS_VISION_STRESS_SECONDS: '60', ...process.env, ...environment } })
    if (status !== 0) failed++
    console.log(`${program} under ${sanitizers}: ${status === 0 ? 'clean' : 'FAILED'}`)
  }
}
process.exitCode = failed === 0 ? 0 : 1

function run(command, args) {
  const { status } = spawnSync(command, args, { stdio: 'inherit' })
  if (status !== 0) process.exit(1)
}
