import { Presets, SingleBar } from 'cli-progress';
import type { Io } from './command';

export interface ProgressBar {
  update(done: number, total?: number): void;
  /** Takes the bar away, so that what is printed next stands alone. */
  stop(): void;
}

const none: ProgressBar = { update: () => {}, stop: () => {} };

/**
 * A bar on standard error in a terminal; elsewhere nothing.
 * @param show how an amount is written
 */
export function progressBar({ stderr }: Io, what: string, total: number, show: (amount: number) => string = String): ProgressBar {
  if (!('isTTY' in stderr) || stderr.isTTY !== true) return none;
  const format = `  ${what} [{bar}] {percentage} % | {value} of {total} | {eta_formatted} left`;
  // Nothing of the terminal is changed, so Ctrl-C has nothing to put back and may end the process at once.
  const untouched = { hideCursor: false, linewrap: true, gracefulExit: false };
  const formatValue = (value: number, _: unknown, type: string) => (type === 'value' || type === 'total' ? show(value) : String(value));
  const bar = new SingleBar({ stream: stderr, format, formatValue, barsize: 20, clearOnComplete: true, etaBuffer: 50, ...untouched }, Presets.legacy);
  bar.start(total, 0);
  return {
    update(done, newTotal) {
      if (newTotal !== undefined) bar.setTotal(newTotal);
      bar.update(done);
    },
    stop: () => bar.stop(),
  };
}
