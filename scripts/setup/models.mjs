import { run } from './run.mjs'

export const models = {
  name: 'models',
  title: 'models, photos',
  work: 'fetching and converting',
  advice: 'What was fetched completely stays. Run this again.',

  locksItself: true,

  // Only the installer itself knows whether a file was changed, and it is quick when none was.
  async done() {
    return undefined
  },

  async run(context, progress) {
    const lines = []
    await run(process.execPath, ['dist/models/install.js', '--photos'], {
      cwd: context.folder,
      log: context.log,
      environment: context.environment,
      onLine: (line) => {
        lines.push(line)
        progress.update(line)
      },
    })
    return lines.at(-1) ?? 'ready'
  },
}
