// Depth: the same maps as on the processor, how long one takes and how many a second.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { median, microseconds } from '../../bench/measure.mjs'
import { figure, table } from '../../bench/report.mjs'
import { on, precisions, relative } from './models.mjs'

export const title = 'Depth'

export async function check({ device, number, rehearsal, size, load, say, verdict }) {
  const { DepthEstimator } = load('depth')
  const frames = [1, 2, 3].map((seed) => frame(seed))
  const processor = await DepthEstimator.load({ weights: 'seeded' })
  const expected = []
  for (const picture of frames) expected.push((await processor.estimate(picture)).values)
  await processor.close()

  const rows = []
  for (const [precision, bound] of Object.entries(precisions(rehearsal))) {
    const depth = await DepthEstimator.load({ weights: 'seeded', ...on(device, precision) })
    const maps = await Promise.all(frames.map((picture) => depth.estimate(picture)))
    const error = Math.max(...maps.map(({ values }, i) => relative(values, expected[i])))
    verdict(`${precision}: relative error`, error <= bound.fcrn, error.toExponential(1), `at most ${bound.fcrn}`)

    const single = []
    for (let i = 0; i < size(200, 2); i++) single.push(await microseconds(() => depth.estimate(frames[i % 3])))
    const one = median(single) / 1000
    const count = size(2_000, 4)
    const monitor = monitorEventLoopDelay({ resolution: 1 })
    const burst = () => Promise.all(Array.from({ length: count }, (_, i) => depth.estimate(frames[i % 3])))
    for (let i = 0; i < 3; i++) await burst() // recordings and memory for every batch size, which are not the same each time
    const free = () => (rehearsal ? 0 : load('info').info().cuda.devices[number].free)
    const before = free()
    monitor.enable()
    const perSecond = count / ((await microseconds(burst)) / 1e6)
    monitor.disable()
    const taken = (before - free()) / 2 ** 20
    rows.push([precision, figure(one), figure(perSecond), figure(monitor.percentile(99) / 1e6)])
    if (precision === 'fp16') {
      verdict('one frame in fp16', one <= 3, `${figure(one)} ms`, 'at most 3 ms')
      verdict('frames a second in fp16, many at once', perSecond >= 1_000, figure(perSecond), 'at least 1,000')
    }
    verdict(`${precision}: ${count.toLocaleString('en')} frames take of the device's memory`, taken <= 2, `${figure(taken)} MiB`, 'at most 2 MiB')
    await depth.close()
  }
  say('FCRN with seeded weights, frames of 640 x 480 handed over as pixels:')
  say(table(['', 'ms for one', 'frames / s, many at once', 'event loop behind, 99th percentile, ms'], rows))
}

function frame(seed) {
  const width = 640
  const height = 480
  const data = new Uint8Array(width * height * 3)
  for (let i = 0; i < data.length; i++) data[i] = ((i / 7) * seed + ((i * 2654435761) >>> 27)) & 255
  return { data, width, height, channels: 3 }
}
