import { createRequire } from 'node:module'
import { join } from 'node:path'
import { SetupError } from './errors.mjs'
import { nodeHeaders, npmCommand } from './paths.mjs'
import { run } from './run.mjs'

/** The gallery's and the service's store. The demo does without, and need not wait for it. */
export const sqlite = {
  name: 'sqlite',
  title: 'SQLite for Node',
  work: 'fetching or compiling better-sqlite3',
  advice: "Where its publisher's build cannot be fetched it is compiled, which needs make, python3 and a C++ compiler. Run this again.",

  async done({ folder }) {
    return problem(folder) === undefined ? 'better-sqlite3' : undefined
  },

  async run(context, progress) {
    const [command, ...prefix] = npmCommand(context.environment)
    const npm = async (args, environment = context.environment) => {
      progress.update(`npm ${args.slice(0, 2).join(' ')}`)
      await run(command, [...prefix, ...args, '--no-audit', '--no-fund', '--loglevel=error'], {
        cwd: context.folder,
        log: context.log,
        environment,
      })
    }
    try {
      await npm(['rebuild', 'better-sqlite3'], { ...nodeHeaders(), ...context.environment })
    } catch (error) {
      // Neither its publisher's build nor, where this Node came without headers, nodejs.org could be reached: npm has them too.
      if (nodeHeaders().npm_config_nodedir !== undefined) throw error
      const folder = join(context.cache, `node-headers-${process.versions.node}`)
      const name = `node-${process.platform}-${process.arch}`
      await npm(['install', `${name}@${process.versions.node}`, '--no-save', '--ignore-scripts', '--prefix', folder])
      await npm(['rebuild', 'better-sqlite3'], { ...context.environment, npm_config_nodedir: join(folder, 'node_modules', name) })
    }
    const still = problem(context.folder)
    if (still !== undefined) throw new SetupError(`npm rebuild left it as it was (${still}); is npm told to ignore scripts?`, { log: context.log })
    return 'better-sqlite3'
  },
}

/** Why it does not work with this Node, if so: it is compiled for one major version. */
function problem(folder) {
  try {
    const Database = createRequire(join(folder, 'package.json'))('better-sqlite3')
    new Database(':memory:').close()
    return undefined
  } catch (error) {
    return error.message.split('\n', 1)[0]
  }
}
