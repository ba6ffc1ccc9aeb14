import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileStates, filesBelow, readJson } from './fingerprint.mjs'
import { run } from './run.mjs'

// Each after those whose types it needs: what it is made of, and the commands that compile it.
const TSC = 'node_modules/typescript/bin/tsc'
const PROJECTS = [
  { folder: '.', sources: ['lib'], commands: [[TSC, '-p', 'tsconfig.json']] },
  { folder: 'packages/service', sources: ['lib'], commands: [[TSC, '-p', 'packages/service/tsconfig.json']] },
  {
    folder: 'packages/service/page',
    sources: ['src', 'public', 'index.html', 'vite.config.mjs'],
    // Vite compiles without a look at the types.
    commands: [
      [TSC, '-p', 'packages/service/page/tsconfig.json'],
      ['node_modules/vite/bin/vite.js', 'build', '--logLevel', 'warn', 'packages/service/page'],
    ],
  },
]
const OUTPUTS = ['dist', 'packages/service/dist']

export const typescript = {
  name: 'typescript',
  title: 'TypeScript',
  work: 'compiling',
  advice: "The compiler's messages above name file and line.",

  async done({ folder }) {
    const before = readJson(stampPath(folder))
    return before !== undefined && before.join() === states(folder).join() ? 'compiled' : undefined
  },

  async run(context, progress) {
    const { folder } = context
    const before = readJson(stampPath(folder)) ?? []
    // What was compiled from a file that is gone must not be found any more.
    if (before.some((state) => !existsSync(state.split(' ')[0]))) {
      for (const output of OUTPUTS) rmSync(join(folder, output), { recursive: true, force: true })
    }
    const now = states(folder)
    for (const project of PROJECTS) {
      progress.update(`compiling ${join(project.folder, project.sources[0])}`)
      for (const command of project.commands) {
        await run(process.execPath, command, { cwd: folder, log: context.log, environment: context.environment })
      }
    }
    writeFileSync(stampPath(folder), JSON.stringify(now))
    return 'compiled'
  },
}

const stampPath = (folder) => join(folder, 'dist/.setup.json')

function states(folder) {
  const paths = PROJECTS.flatMap((project) => [...project.sources, 'tsconfig.json'].map((source) => join(folder, project.folder, source)))
  const files = paths.flatMap(filesBelow)
  return fileStates([...files, join(folder, 'package-lock.json')])
}
