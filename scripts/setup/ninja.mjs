import { availableParallelism, freemem } from 'node:os'

/** How many compilers may run side by side when each needs up to so much memory. */
export function buildJobs(gigabytesEach) {
  // A container's limit can be lower than what the machine has free.
  const bytes = Math.min(freemem(), process.constrainedMemory() || Infinity)
  return Math.max(1, Math.min(availableParallelism(), Math.floor(bytes / (gigabytesEach * 2 ** 30))))
}

/** Takes ninja's "[12/120] Building ..." over into the progress line. */
export function ninjaProgress(line, progress, text) {
  const match = /^\[(\d+)\/(\d+)\]/.exec(line)
  if (match !== null) progress.update(`${text} ${match[0]}`, Number(match[1]) / Number(match[2]))
}
