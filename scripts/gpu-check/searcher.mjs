// Fills an index on a device and searches it for ever: `node searcher.mjs DEVICE N`. Sends its first answer.
import { createRequire } from 'node:module'
import { uniform } from './vectors.mjs'

const { Index } = createRequire(import.meta.url)('../../dist/ann')
const [device, n] = process.argv.slice(2)
const d = 128
const index = Index.factory(d, 'Flat', { device })
await index.add(uniform(Number(n), d, 1))
const queries = uniform(500, d, 2)
const { labels } = await index.search(queries, 5)
process.send(labels.join())
for (;;) await index.search(queries, 5)
