import { type ParseArgsConfig, parseArgs } from 'node:util';
import { FaissVisionError } from '../error';
import { printable } from './table';

/** Where a command writes: answers to `stdout`, everything else to `stderr`. */
export interface Io {
  stdout: NodeJS.WritableStream;
  stderr: NodeJS.WritableStream;
}

/** A command of `faiss-vision`; `main.ts` lists them all. */
export interface Command {
  name: string;
  /** One line for the list of commands. */
  summary: string;
  /** What `--help` prints: the call, then what each option does. */
  usage: string;
  /** @returns the exit code, one of `exitCode` */
  run(args: string[], io: Io): Promise<number>;
}

/** What scripts can rely on; documented in docs/faces.md. */
export const exitCode = {
  /** Done; a face was found; the same person. */
  yes: 0,
  /** Done; no face was found; not the same person. */
  no: 1,
  /** The command was called in a way that it does not know. */
  usage: 2,
  /** A file could not be read, written or fetched. */
  failed: 3,
  /** The configuration of `serve` has a mistake: EX_CONFIG of sysexits.h, which systemd knows. */
  configuration: 78,
} as const;

/** A mistake in how a command was called. */
export class UsageError extends FaissVisionError {
  constructor(message: string) {
    super('ERR_USAGE', message);
  }
}

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<T extends Options> = ReturnType<typeof parseArgs<{ args: string[]; options: T; allowPositionals: true }>>;

/** Node's own parseArgs, its complaints as a UsageError. */
export function parse<T extends Options>(args: string[], options: T): Parsed<T> {
  try {
    return parseArgs({ args, options, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** The number that an option was given, or undefined where it was not. */
export function numberOf(option: string, text: string | undefined, { from = -Infinity, whole = false } = {}): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < from || (whole && !Number.isInteger(value))) {
    const bound = from === -Infinity ? '' : ` of at least ${from}`;
    throw new UsageError(`--${option} must be a ${whole ? 'whole ' : ''}number${bound}, got ${JSON.stringify(text)}`);
  }
  return value;
}

/** Writes an error as every command does: `faiss-vision: CODE: message`. */
export function complain({ stderr }: Io, { code, message }: { code: string; message: string }): void {
  // The system's messages begin with their code.
  const said = message.startsWith(`${code}: `) ? message.slice(code.length + 2) : message;
  stderr.write(`faiss-vision: ${code}: ${said.split('\n').map(printable).join('\n')}\n`);
}

/** Whether an error says what went wrong to a person, by a code of this package or of the system; others are mistakes in the code. */
export function isTold(error: unknown): error is Error & { code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}
