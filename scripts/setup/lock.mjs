import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { once } from 'node:events'
import { SetupError } from './errors.mjs'

const WAIT_BEFORE_TELLING_MS = 300

/**
 * Takes the lock file and gives back the function that frees it, to be waited for, as what follows may block the event loop;
 * `onWait(holder)` is called when another process has it. The kernel keeps the lock (flock) in a child that lives as long as our
 * end of its pipe, so that a killed set-up never leaves one behind and none has to be judged stale.
 */
export async function takeLock(path, onWait) {
  mkdirSync(dirname(path), { recursive: true })
  // Detached, or Ctrl-C would free the lock before this process has ended.
  const child = spawn('flock', [path, 'sh', '-c', 'echo held; exec cat'], { stdio: ['pipe', 'pipe', 'ignore'], detached: true })
  const timer = setTimeout(() => onWait(holder(path)), WAIT_BEFORE_TELLING_MS)
  try {
    const [event] = await Promise.race([
      once(child.stdout, 'data').then(() => ['held']),
      once(child, 'exit').then(() => ['exit']),
    ])
    if (event !== 'held') throw new SetupError(`the lock file ${path} cannot be taken`)
  } catch (error) {
    if (error instanceof SetupError) throw error
    throw new SetupError(`flock cannot be started: ${error.message}`, { advice: 'Install util-linux, which has the command flock.' })
  } finally {
    clearTimeout(timer)
  }
  // The lock must not keep this process alive; it ends with it at the latest.
  child.unref()
  child.stdin.unref()
  child.stdout.unref()
  writeFileSync(path, `process ${process.pid} in ${process.cwd()}\n`)
  return async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.ref()
    const free = once(child, 'exit')
    child.stdin.end()
    await free
  }
}

function holder(path) {
  try {
    return readFileSync(path, 'utf8').trim() || 'another process'
  } catch {
    return 'another process'
  }
}
