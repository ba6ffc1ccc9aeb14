import { spawn } from 'node:child_process'
import { createWriteStream, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { once } from 'node:events'
import { SetupError } from './errors.mjs'

const TAIL_LINES = 30

/** The command as one could type it into a shell. */
export function shellLine(command, args = []) {
  return [command, ...args].map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ')
}

/**
 * Runs a command without standard input, its output (both streams) in the file `log`. Each line goes to
 * `onLine` first; one for which that is true tells only progress and stays out of the log.
 * Throws a SetupError with the last lines when the command fails.
 */
export async function run(command, args, { cwd, environment = process.env, log, onLine } = {}) {
  const line = shellLine(command, args)
  mkdirSync(dirname(log), { recursive: true })
  const file = createWriteStream(log, { flags: 'a' })
  file.write(`$ ${line}\n`)
  const tail = []

  const child = spawn(command, args, { cwd, env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream, crlfDelay: Infinity }).on('line', (text) => {
      if (onLine?.(text) === true) return
      file.write(`${text}\n`)
      tail.push(text)
      if (tail.length > TAIL_LINES) tail.shift()
    })
  }

  const problem = await new Promise((resolve) => {
    child.once('error', (error) => resolve(`cannot be started: ${error.message}`))
    child.once('close', (code, signal) => resolve(code === 0 ? undefined : signal ? `was ended by ${signal}` : `ended with exit code ${code}`))
  })
  file.end()
  await once(file, 'close')
  if (problem !== undefined) throw new SetupError(`${command} ${problem}`, { command: line, tail, log })
}

/** A command's standard output, or undefined when it fails or does not exist. For quick looks only. */
export async function output(command, args, { environment = process.env } = {}) {
  const child = spawn(command, args, { env: environment, stdio: ['ignore', 'pipe', 'ignore'] })
  let text = ''
  child.stdout.on('data', (chunk) => (text += chunk))
  return new Promise((resolve) => {
    child.once('error', () => resolve(undefined))
    child.once('close', (code) => resolve(code === 0 ? text : undefined))
  })
}
