/** The package has no types; of its options these are used. */
declare module 'pino-roll' {
  import type { EventEmitter } from 'node:events';
  import type { DestinationStream } from 'pino';

  interface Options {
    file: string;
    extension: string;
    size: string;
    frequency: 'daily' | 'hourly';
    dateFormat: string;
    limit: { count: number; removeOtherLogFiles: boolean };
    mkdir: boolean;
    sync: boolean;
    /** Characters. */
    maxLength: number;
  }
  export default function roll(options: Options): Promise<DestinationStream & EventEmitter<{ error: [Error] }>>;
}
