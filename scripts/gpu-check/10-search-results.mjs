// The same answers as on the CPU, for every type that moves.
import { compare, overlap, uniform } from './vectors.mjs'

export const title = 'Search finds what the CPU finds'

const PLAIN = ['Flat', 'IDMap2,Flat', 'IVF64,PQ16np', 'SQfp16', 'IVF64,Flat', 'IVF64,SQ8', 'IVF64,SQ4', 'IVF64,SQfp16']
const KINDS = [...PLAIN, 'PCA32,Flat', 'PCA32,IVF64,PQ16np']
const BOUND = 1e-3

export async function check({ device, rehearsal, size, load, verdict }) {
  const { Ann, Index } = load('ann')
  const d = size(64, 32)
  const n = size(100_000, 3_000)
  const vectors = uniform(n, d, 1)
  const more = uniform(1_000, d, 2)
  const queries = uniform(size(1_000, 50), d, 3)
  const k = 10

  for (const metric of ['l2', 'ip']) {
    for (const kind of KINDS.slice(0, size(KINDS.length, 3))) {
      // Trained and filled on the CPU, then moved: what differs is the search alone.
      const cpu = Index.factory(d, kind, { metric, exact: 'plain' })
      await cpu.train(vectors)
      const ids = kind.startsWith('IDMap') ? BigInt64Array.from({ length: n }, (_, i) => BigInt(i) * 7n) : undefined
      await cpu.add(vectors, ids)
      if (kind.includes('IVF')) await cpu.set('nprobe', 16)
      const gpu = await Index.fromBuffer(await cpu.toBuffer())
      await gpu.to(device)
      if (kind.includes('IVF')) await gpu.set('nprobe', 16)
      const expected = await cpu.search(queries, k)
      tell(`${kind}, ${metric}`, compare(await gpu.search(queries, k), expected, BOUND))

      const moreIds = ids && BigInt64Array.from({ length: 1_000 }, (_, i) => BigInt(i + n) * 7n)
      await Promise.all([cpu.add(more, moreIds), gpu.add(more, moreIds)])
      const afterAdd = await cpu.search(queries, k)
      const added = await gpu.search(queries, k)
      // A vector on the border between two lists may be put into either.
      const same = overlap(added, afterAdd, k)
      verdict(`${kind}, ${metric}, added on the GPU`, same >= 0.99 && gpu.ntotal === cpu.ntotal, same.toFixed(4), 'at least 0.99')

      const file = await Index.fromBuffer(await gpu.toBuffer())
      const { type, ntotal } = await file.describe()
      verdict(`${kind}, ${metric}, saved and read`, ntotal === gpu.ntotal, `${ntotal} vectors, ${type}`, `${gpu.ntotal} vectors`)
      await gpu.to('cpu')
      const back = compare(await gpu.search(queries, k), added, BOUND)
      tell(`${kind}, ${metric}, brought back`, back)
      for (const index of [cpu, gpu, file]) await index.close()
    }
  }

  // What is trained there finds about as many true neighbours.
  const exact = Index.factory(d, 'Flat')
  await exact.add(vectors)
  const truth = await exact.search(queries, k)
  for (const kind of ['IVF64,Flat', 'IVF64,PQ16np', 'IVF64,SQ8'].slice(0, size(3, 1))) {
    const recalls = []
    for (const where of ['cpu', device]) {
      const index = Index.factory(d, kind, { device: where })
      await index.train(vectors)
      await index.add(vectors)
      await index.set('nprobe', 16)
      recalls.push(overlap(await index.search(queries, k), truth, k))
      await index.close()
    }
    const least = recalls[0] - 0.02
    verdict(`${kind} trained on the GPU, recall`, recalls[1] >= least, recalls[1].toFixed(3), `at least ${least.toFixed(3)}`)
  }

  // Several GPUs; one stands for two where there is one.
  const several = rehearsal ? 'cpu' : [device, device]
  for (const split of ['replicas', 'shards']) {
    for (const kind of ['Flat', 'IVF64,Flat']) {
      const index = Index.factory(d, kind)
      await index.train(vectors)
      await index.add(vectors)
      if (kind !== 'Flat') await index.set('nprobe', 16)
      const expected = await index.search(queries, k)
      await index.to(several, { split })
      if (kind !== 'Flat') await index.set('nprobe', 16)
      tell(`${kind} as two ${split}`, compare(await index.search(queries, k), expected, BOUND))
      await index.add(more)
      verdict(`${kind} as two ${split}, added`, index.ntotal === n + 1_000, index.ntotal, n + 1_000)
      await index.to('cpu')
      verdict(`${kind} as two ${split}, brought back`, index.ntotal === n + 1_000, index.ntotal, n + 1_000)
      await index.close()
    }
  }

  const half = Index.factory(d, 'Flat', { device, float16: true })
  await half.add(vectors)
  const found = overlap(await half.search(queries, k), truth, k)
  verdict('Flat in half precision, same ids', found >= 0.98, found.toFixed(4), 'at least 0.98')
  await half.close()

  const anns = ['cpu', device].map((where) => new Ann({ dimension: d, threshold: 0.5, k: 3, device: where }))
  for (const ann of anns) {
    await ann.add(vectors)
    await ann.erase([0, 5, n - 1])
    await ann.add(more.slice(0, d))
  }
  const [onCpu, onGpu] = await Promise.all(anns.map((ann) => ann.search(queries)))
  const alike = onCpu.filter((decision, i) => decision.found === onGpu[i].found && Math.abs(decision.score - onGpu[i].score) < BOUND).length
  verdict('Ann decides alike after an erase', alike === onCpu.length, `${alike} of ${onCpu.length}`, 'all')

  function tell(what, { ids, worst }) {
    verdict(what, ids === 0 && worst <= BOUND, `${ids} other ids, distances within ${worst.toExponential(1)}`, `0, ${BOUND}`)
  }
}
