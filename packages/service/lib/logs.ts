import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pino, stdSerializers, type Logger } from 'pino';
import type { LogsConfig } from './config/schema.js';

/**
 * JSON lines, on standard output or in files that are rotated by size and age. No features, no photos, no addresses' passwords, and
 * no names unless the configuration asks for them.
 */
export function openLogs({ level, folder, size, every, files, names }: LogsConfig): Logger {
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
  const transport = pino.transport({
    target: 'pino-roll',
    options: {
      file: join(folder, 'faiss-vision'),
      extension: '.log',
      size,
      frequency: every,
      limit: { count: files, removeOtherLogFiles: true },
      mkdir: true,
    },
  }) as pino.DestinationStream;
  return pino(options, transport);
}
