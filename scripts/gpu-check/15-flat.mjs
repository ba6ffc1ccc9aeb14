// Few queries and many take different ways through flat indexes: the same answers as on the CPU.
import { compare, uniform } from './vectors.mjs'

export const title = 'Flat indexes find what the CPU finds, by few queries and by many'

const BOUND = 1e-3

export async function check({ device, rehearsal, size, load, verdict }) {
  const { Index } = load('ann')
  // Dimensions that are and are not multiples of four and of a warp's 128 numbers; more vectors than one pass of all warps, and fewer than k.
  for (const [d, n] of [[512, size(60_000, 500)], [128, size(50_001, 500)], [100, 7], [36, size(10_000, 500)], [30, 1_000], [1_024, 3_000]]) {
    for (const metric of ['l2', 'ip']) {
      for (const float16 of d === 128 || d === 512 ? [false, true] : [false]) {
        const cpu = Index.factory(d, float16 ? 'SQfp16' : 'Flat', { metric, exact: 'plain' })
        const vectors = uniform(n, d, d)
        vectors.copyWithin(3 * d, 0, 3 * d) // twins of the first three
        await cpu.add(vectors)
        const gpu = await Index.fromBuffer(await cpu.toBuffer())
        await gpu.to(device)
        let others = 0
        let worst = 0
        for (const queries of [1, 2, 3, 4, 5, 8, 9, 33, 300, size(2_500, 50)]) {
          const x = uniform(queries, d, 1_000 + queries)
          for (const k of queries > 300 ? [10] : [1, 2, 10, 32, 33, 100, 128, 129]) {
            const result = compare(await gpu.search(x, k), await cpu.search(x, k), BOUND)
            others += result.ids
            worst = Math.max(worst, result.worst)
          }
        }
        const name = `${n.toLocaleString('en')} x ${d}, ${metric}${float16 ? ', halves' : ''}`
        verdict(name, others === 0 && worst <= BOUND, `${others} other ids, distances within ${worst.toExponential(1)}`, `0, ${BOUND}`)
        if (!rehearsal && !float16 && d === 512) {
          const { labels } = await gpu.search(vectors.subarray(0, 2 * d), 2)
          verdict(`${name}, twins in the order of their ids`, labels.join() === '0,3,1,4', labels.join(), '0,3,1,4')
        }
        await Promise.all([cpu.close(), gpu.close()])
      }
    }
  }
}
