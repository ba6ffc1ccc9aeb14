import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pythonEnvironment } from './python.mjs'
import { run } from './run.mjs'

// The last release that holds Milvus's own C++ program; from 3.0 on the package is another engine, written in Python.
const PACKAGE = 'milvus-lite==2.5.1'

/** Why the server program cannot be had on this machine, undefined where it can. */
export function milvusMissing() {
  const { glibcVersionRuntime } = process.report.getReport().header
  if (['x64', 'arm64'].includes(process.arch) && glibcVersionRuntime !== undefined) return undefined
  return `${PACKAGE} has no wheel for ${process.platform} ${process.arch}${glibcVersionRuntime === undefined ? ' without glibc' : ''}`
}

/** The folder of the server program `milvus` and its libraries, undefined before the set-up has fetched it. */
export function milvusFolder() {
  const { folder, commands } = pythonEnvironment('milvus-lite', [PACKAGE])
  if (commands.length > 0) return undefined
  const [python] = readdirSync(join(folder, 'lib')).filter((name) => name.startsWith('python3'))
  const program = join(folder, 'lib', python, 'site-packages/milvus_lite/lib')
  return existsSync(join(program, 'milvus')) ? program : undefined
}

export const milvus = {
  name: 'milvus',
  title: 'Milvus server',
  work: `fetching ${PACKAGE}`,
  advice: 'It comes from PyPI by pip, about 50 MB. Run this again.',
  forTests: true,

  async done() {
    return milvusMissing() ?? (milvusFolder() === undefined ? undefined : PACKAGE)
  },

  async run(context, progress) {
    for (const [command, ...args] of pythonEnvironment('milvus-lite', [PACKAGE]).commands) {
      progress.update(args.includes('venv') ? 'making its virtual environment' : `fetching ${PACKAGE}`)
      await run(command, args, { log: context.log, environment: context.environment })
    }
    return PACKAGE
  },
}
