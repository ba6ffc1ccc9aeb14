import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';

/** Whether a small disk can be made here. */
export const mounts =
  process.getuid!() === 0 &&
  spawnSync('sh', ['-c', 'd=$(mktemp -d) && mount -t tmpfs -o size=1m tmpfs "$d" && umount "$d" && rmdir "$d"']).status === 0;

/** A disk of so many MiB, in memory, at this folder. */
export function makeDisk(folder: string, mebibytes: number): { enlarge(mebibytes: number): void; remove(): void } {
  mkdirSync(folder);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', folder]);
  return {
    enlarge: (more) => void execFileSync('mount', ['-o', `remount,size=${more}m`, folder]),
    remove: () => void execFileSync('umount', [folder]),
  };
}
