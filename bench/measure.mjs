/** The middle one of sorted numbers. */
export const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

/**
 * Runs the contenders in turn, round after round, so that what the machine does besides meets all alike.
 * @param contenders name -> async function that returns its own time
 * @returns name -> times, by round
 */
export async function inTurn(contenders, rounds, warmUp = 2) {
  const times = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let round = -warmUp; round < rounds; round++) {
    if (process.stderr.isTTY) process.stderr.write(`\rround ${Math.max(0, round + 1)} of ${rounds} `);
    for (const [name, run] of Object.entries(contenders)) {
      const time = await run();
      if (round >= 0) times[name].push(time);
    }
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  return times;
}

/** The median of a / b, round by round. */
export const ratio = (a, b) => median(a.map((time, i) => time / b[i]));

/** The median of a - b, round by round. */
export const difference = (a, b) => median(a.map((time, i) => time - b[i]));

/** Microseconds that an async function takes. */
export async function microseconds(work) {
  const start = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - start) / 1000;
}
