import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pino, stdSerializers, type Logger } from 'pino';
import roll from 'pino-roll';
import type { LogsConfig } from './config/schema.js';

/** Characters that wait while the files take none; what comes then is let go. */
const MOST_WAITING = 2 ** 20;
const MINUTE = 60_000;

/**
 * JSON lines, on standard output or in files that are rotated by size and age. No features, no photos, no addresses' passwords, and
 * no names unless the configuration asks for them.
 */
export async function openLogs({ level, folder, size, every, files, names }: LogsConfig): Promise<Logger> {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: stdSerializers.err },
    redact: {
      paths: [
        'features',
        '*.features',
        'authorization',
        '*.authorization',
        'token',
        'cookie',
        ...(names ? [] : ['person.name', '*.person.name', 'personName']),
      ],
      censor: '…',
    },
  };
  if (folder === undefined) return pino(options);
  mkdirSync(folder, { recursive: true, mode: 0o750 });
  const destination = await roll({
    file: join(folder, 'faiss-vision'),
    extension: '.log',
    size,
    frequency: every,
    // Numbers begin again each day: without the day in the name it could not be told which files are the oldest.
    dateFormat: every === 'daily' ? 'yyyy-MM-dd' : 'yyyy-MM-dd-HH',
    limit: { count: files, removeOtherLogFiles: true },
    mkdir: true,
    // In this thread and at once: one of pino's own would end the service with the first line that the disk does not take.
    sync: true,
    maxLength: MOST_WAITING,
  });
  let told = -Infinity;
  destination.on('error', ({ message }) => {
    if (Date.now() - told < MINUTE) return;
    told = Date.now();
    process.stderr.write(`faiss-vision: the log cannot be written: ${message}\n`);
  });
  return pino(options, destination);
}
