import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { lock } from 'proper-lockfile';
import { FaissVisionError } from '../error';
import { removeUnfinished } from './files';
import type { OnProgress } from './progress';

// A holder renews its lock every half of this; one that was killed stops doing so.
const STALE_MS = 10_000;
const POLL_MS = 200;
// Longer than the slowest download that still makes sense.
const GIVE_UP_MS = 20 * 60_000;

/**
 * Runs `work` while this process alone works in `folder`, and waits while another one does.
 * What a killed process left unfinished there is removed first.
 *
 * @throws ERR_MODEL_LOCKED where another process holds the folder for 20 minutes
 */
export async function withFolderLock<T>(folder: string, onProgress: OnProgress, work: () => Promise<T>): Promise<T> {
  await fs.mkdir(folder, { recursive: true });
  const release = await acquire(folder, onProgress);
  try {
    await removeUnfinished(folder);
    return await work();
  } finally {
    // A lock that was lost (a laptop that slept) is somebody else's by now.
    await release().catch(() => {});
  }
}

async function acquire(folder: string, onProgress: OnProgress): Promise<() => Promise<void>> {
  const lockfilePath = path.join(folder, '.lock');
  const deadline = Date.now() + GIVE_UP_MS;
  for (let waited = false; ; waited = true) {
    try {
      // Losing the lock spoils nothing: whatever is written is whole before it gets its name.
      return await lock(folder, { lockfilePath, stale: STALE_MS, onCompromised: () => {} });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error;
      if (Date.now() > deadline) {
        throw new FaissVisionError(
          'ERR_MODEL_LOCKED',
          `${lockfilePath} is held by another process for ${GIVE_UP_MS / 60_000} minutes; end it or remove that folder`,
          { cause: error },
        );
      }
      if (!waited) onProgress({ step: 'wait', file: folder });
      await sleep(POLL_MS);
    }
  }
}
