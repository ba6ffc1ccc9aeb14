import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileStates, filesBelow, readJson } from './fingerprint.mjs'
import { run } from './run.mjs'

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
    progress.update('compiling lib/ to dist/')
    const before = readJson(stampPath(folder)) ?? []
    // What was compiled from a file that is gone must not be found any more.
    if (before.some((state) => !existsSync(state.split(' ')[0]))) rmSync(join(folder, 'dist'), { recursive: true })
    const now = states(folder)
    await run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'], {
      cwd: folder,
      log: context.log,
      environment: context.environment,
    })
    writeFileSync(stampPath(folder), JSON.stringify(now))
    return 'compiled'
  },
}

const stampPath = (folder) => join(folder, 'dist/.setup.json')

function states(folder) {
  const sources = filesBelow(join(folder, 'lib')).filter((file) => /\.m?ts$/.test(file))
  return fileStates([...sources, join(folder, 'tsconfig.json'), join(folder, 'package-lock.json')])
}
