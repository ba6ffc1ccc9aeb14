// A process that is killed in mid-search leaves the device usable; ten share it.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const title = 'Processes'

const worker = join(fileURLToPath(import.meta.url), '../searcher.mjs')

export async function check({ device, number, rehearsal, size, load, verdict }) {
  const { info } = load('info')
  const free = () => (rehearsal ? 0 : info().cuda.devices[number].free)
  const start = (n) => fork(worker, [device, String(n)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  await new Promise((resolve) => setTimeout(resolve, 500))
  const before = free()

  const victim = start(size(1_000_000, 5_000))
  await once(victim, 'message') // it searches by now
  victim.kill('SIGKILL')
  await once(victim, 'exit')
  let after = free()
  // The driver takes its time to clear up.
  for (let i = 0; i < 100 && before - after > 64 * 2 ** 20; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    after = free()
  }
  const missing = (before - after) / 2 ** 20
  verdict('memory missing after a kill in mid-search', missing <= 64, `${missing.toFixed(0)} MiB`, 'at most 64 MiB')

  const ten = Array.from({ length: size(10, 2) }, () => start(size(20_000, 1_000)))
  const answers = await Promise.all(
    ten.map(async (child) => {
      const [message] = await Promise.race([once(child, 'message'), once(child, 'exit').then(() => ['ended'])])
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      await exited
      return message
    }),
  )
  const [first] = answers
  const same = answers.filter((answer) => answer === first && answer !== 'ended').length
  verdict(`${ten.length} processes at once give the same answer`, same === ten.length, `${same} do`, 'all')
}
