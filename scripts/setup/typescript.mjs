import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileStates, filesBelow, readJson } from './fingerprint.mjs'
import { run } from './run.mjs'

// Each after those whose types it needs.
const PROJECTS = ['.', 'packages/service']

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
      for (const project of PROJECTS) rmSync(join(folder, project, 'dist'), { recursive: true, force: true })
    }
    const now = states(folder)
    for (const project of PROJECTS) {
      progress.update(`compiling ${join(project, 'lib')}`)
      await run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', join(project, 'tsconfig.json')], {
        cwd: folder,
        log: context.log,
        environment: context.environment,
      })
    }
    writeFileSync(stampPath(folder), JSON.stringify(now))
    return 'compiled'
  },
}

const stampPath = (folder) => join(folder, 'dist/.setup.json')

function states(folder) {
  const files = PROJECTS.flatMap((project) => {
    const sources = filesBelow(join(folder, project, 'lib')).filter((file) => /\.m?ts$/.test(file))
    return [...sources, join(folder, project, 'tsconfig.json')]
  })
  return fileStates([...files, join(folder, 'package-lock.json')])
}
