import { Presets, SingleBar } from 'cli-progress';
import type { Io } from './command';

export interface ProgressBar {
  update(done: number, total?: number): void;
  /** Takes the bar away, so that what is printed next stands alone. */
  stop(): void;
}

const none: ProgressBar = { update: () => {}, stop: () => {} };

/** A bar on standard error in a terminal; elsewhere nothing. */
export function progressBar({ stderr }: Io, what: string, total: number): ProgressBar {
  if (!('isTTY' in stderr) || stderr.isTTY !== true) return none;
  const format = `  ${what} [{bar}] {percentage} % | {value} of {total} | {eta_formatted} left`;
  const bar = new SingleBar({ stream: stderr, format, hideCursor: true, clearOnComplete: true, etaBuffer: 50 }, Presets.legacy);
  bar.start(total, 0);
  return {
    update(done, newTotal) {
      if (newTotal !== undefined) bar.setTotal(newTotal);
      bar.update(done);
    },
    stop: () => bar.stop(),
  };
}
