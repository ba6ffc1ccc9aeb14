// Device memory: 100,000 searches leave it where it was, and running out of it loses nothing.
import { figure } from '../../bench/report.mjs'
import { compare, uniform } from './vectors.mjs'

export const title = 'Device memory'

export async function check({ device, number, rehearsal, size, load, bench, verdict }) {
  const { Index } = load('ann')
  const { info } = load('info')
  const free = () => (rehearsal ? 0 : info().cuda.devices[number].free)
  const d = 64
  const flat = Index.factory(d, 'Flat', { device })
  const lists = Index.factory(d, 'IVF64,Flat', { device })
  const vectors = uniform(size(100_000, 3_000), d, 1)
  await lists.train(vectors)
  for (const index of [flat, lists]) await index.add(vectors)
  const queries = uniform(1_000, d, 2)
  const query = (i) => queries.subarray((i % 1_000) * d, ((i % 1_000) + 1) * d)
  for (let i = 0; i < 1_000; i++) await Promise.all([flat.search(query(i), 10), lists.search(query(i), 10)])

  const before = free()
  const searches = size(100_000, 500)
  for (let i = 0; i < searches; i += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, j) => ((i + j) % 2 === 0 ? flat : lists).search(query(i + j), 1 + ((i + j) % 5))))
  }
  const taken = before - free()
  verdict(`${searches.toLocaleString('en')} searches take`, taken <= 2 * 2 ** 20, `${figure(taken / 2 ** 20)} MiB`, 'at most 2 MiB')

  for (const [name, index] of [['flat', flat], ['IVF', lists]]) {
    const expected = await index.search(queries, 10)
    const total = index.ntotal
    const native = rehearsal ? undefined : bench()
    const held = native?.holdGpuMemory(number, 64 * 2 ** 20)
    let code = 'nothing'
    try {
      await index.add(uniform(size(4_000_000, 1_000), d, 3))
    } catch (error) {
      code = error.code
    }
    held?.release()
    if (rehearsal) continue // the processor's memory is not to be filled
    verdict(`${name}: too many vectors give`, code === 'ERR_CUDA_OUT_OF_MEMORY', code, 'ERR_CUDA_OUT_OF_MEMORY')
    const { ids, worst } = compare(await index.search(queries, 10), expected, 1e-5)
    const left = `${index.ntotal} vectors, ${ids} other ids, ${worst.toExponential(1)}`
    verdict(`${name}: the index is whole`, index.ntotal === total && ids === 0, left, `${total}, 0`)
    await index.add(vectors.subarray(0, d))
    verdict(`${name}: the next call works`, index.ntotal === total + 1, index.ntotal, total + 1)
  }

  const full = free()
  await Promise.all([flat.close(), lists.close()])
  if (!rehearsal) verdict('closing gives back', free() > full, `${figure((free() - full) / 2 ** 20)} MiB`, 'more than 0')
}
