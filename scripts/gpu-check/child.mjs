// One check, in this process: `node child.mjs FILE DEVICE`, started by gpu-check.mjs, which is told of everything by its channel as it
// comes: what was found before a crash is not lost.
// FILE exports `title` and `check(context)`.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const [file, device] = process.argv.slice(2)
const root = join(dirname(fileURLToPath(import.meta.url)), '../..')
const require = createRequire(import.meta.url)
const rehearsal = device === 'cpu'
const tell = (message) => new Promise((resolve) => process.send(message, resolve))

const context = {
  device,
  number: rehearsal ? 0 : Number(device.split(':')[1] ?? 0),
  /** Whether it runs small and on the processor. */
  rehearsal,
  /** `large` on a GPU, `small` in a rehearsal. */
  size: (large, small) => (rehearsal ? small : large),
  /** One of this package's modules, as dist/ has it. */
  load: (name) => require(join(root, 'dist', name)),
  /** FAISS's own calls; undefined in a build without them. */
  bench: () => {
    const path = join(root, 'build-cuda/Release/bench.node')
    return existsSync(path) ? require(path) : undefined
  },
  /** A paragraph of the report. */
  say: (paragraph) => void tell({ paragraph }),
  verdict: (what, ok, measured, wanted) => void tell({ verdict: { what, ok, measured, wanted } }),
}

let problem
try {
  const { title, check } = await import(pathToFileURL(file))
  void tell({ title })
  await check(context)
} catch (error) {
  problem = `${error.code ?? error.name}: ${error.message}`.split('\n')[0] // a table has no lines in lines
  console.error(error)
}
await tell({ ended: true, problem })
process.exit(problem === undefined ? 0 : 1)
