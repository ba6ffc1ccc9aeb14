#!/usr/bin/env node
import { packageVersion } from '../native';
import { type Command, type Io, UsageError, complain, exitCode, isTold } from './command';
import { convert } from './convert';
import { depth } from './depth';
import { detect } from './detect';
import { embed } from './embed';
import { enroll } from './enroll';
import { evaluate } from './evaluate';
import { forget } from './forget';
import { identify } from './identify';
import { info } from './info';
import { models } from './models';
import { people } from './people';
import { serve } from './serve';
import { exportPeople, importPeople } from './transfer';
import { verify } from './verify';

const commands: readonly Command[] = [
  ...[detect, embed, verify, evaluate],
  ...[enroll, identify, people, forget, exportPeople, importPeople],
  ...[depth, models, convert, serve, info],
];

// What a library refuses because of an option's value is a mistake in the call, not in a file.
const usageCodes = ['ERR_USAGE', 'ERR_INVALID_ARGUMENT', 'ERR_UNKNOWN_MODEL'];
// What the service was told to do; starting it again does not help.
const configurationCodes = ['ERR_CONFIG_NOT_FOUND', 'ERR_CONFIG_INVALID', 'ERR_NO_TOKEN'];

function help(): string {
  const width = Math.max(...commands.map(({ name }) => name.length));
  const list = commands.map(({ name, summary }) => `  ${name.padEnd(width)}   ${summary}`);
  return `usage: faiss-vision COMMAND ...

${list.join('\n')}

faiss-vision COMMAND --help says more. Exit codes: 0 done, found or the same person; 1 not found or
not the same; 2 a mistake in the call; 3 a file or a model failed.
`;
}

function names(): string {
  return commands.map(({ name }) => name).join(', ');
}

function find(name: string): Command {
  const command = commands.find((each) => each.name === name);
  if (!command) throw new UsageError(`there is no command ${JSON.stringify(name)}; commands are ${names()}`);
  return command;
}

/** Runs the command line's words after `faiss-vision`. Never rejects because of what a user did. */
export async function main(args: string[], io: Io): Promise<number> {
  const [name, ...rest] = args;
  let command: Command | undefined;
  try {
    if (name === undefined) throw new UsageError(`a command is missing; commands are ${names()}`);
    if (name === '--version') {
      io.stdout.write(`${packageVersion()}\n`);
      return exitCode.yes;
    }
    if (name === '--help' || name === '-h' || (name === 'help' && rest.length === 0)) {
      io.stdout.write(help());
      return exitCode.yes;
    }
    command = find(name === 'help' ? rest[0]! : name);
    const options = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest;
    if (name === 'help' || options.includes('--help') || options.includes('-h')) {
      io.stdout.write(`usage: ${command.usage}\n`);
      return exitCode.yes;
    }
    return await command.run(rest, io);
  } catch (error) {
    if (!isTold(error)) throw error;
    complain(io, error);
    if (configurationCodes.includes(error.code)) return exitCode.configuration;
    if (!usageCodes.includes(error.code)) return exitCode.failed;
    const hint = command ? `usage: ${command.usage.split('\n')[0]}` : 'faiss-vision --help lists the commands.';
    if (error.code === 'ERR_USAGE') io.stderr.write(`${hint}\n`);
    return exitCode.usage;
  }
}

if (require.main === module) {
  // A reader that has seen enough, such as head, is no failure. Messages that nobody takes hold nothing up.
  process.stderr.on('error', () => {});
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCode.yes);
    complain(process, { code: error.code ?? error.name, message: error.message });
    process.exit(exitCode.failed);
  });
  void main(process.argv.slice(2), process).then(
    (code) => {
      process.exitCode = code;
    },
    // A mistake in the code. Node's own exit code for that is 1, which scripts would take for an answer.
    (error: unknown) => {
      console.error(error);
      process.exitCode = exitCode.failed;
    },
  );
}
