import { FaissVisionError } from '../error';
import { type Command, type Io, UsageError, exitCode, parse } from './command';

const PACKAGE = '@faiss-vision/service';

const usage = `faiss-vision serve [--config FILE] [options]

  --config FILE         the configuration; default faiss-vision.yaml
  --check               check the configuration, tell the line of each mistake, start nothing
  --add-token NAME      make a token for the API and print it; nobody can print it again
  --scopes LIST         what it may do: read,recognise,people,admin,metrics; default read
  --tokens              list the tokens
  --remove-token NAME   end a token

Runs cameras, recognition, rules, the HTTP API and the page until SIGINT or SIGTERM; exit code 78 is a mistake in the
configuration. It is in a package of its own: npm install ${PACKAGE}`;

const options = {
  config: { type: 'string', default: 'faiss-vision.yaml' },
  check: { type: 'boolean' },
  'add-token': { type: 'string' },
  scopes: { type: 'string' },
  tokens: { type: 'boolean' },
  'remove-token': { type: 'string' },
} as const;

/** What is used of the package; it needs this one's types, so this one cannot need its. */
interface ServicePackage {
  loadConfig(file: string): Promise<unknown>;
  serve(file: string, onListening: (address: string) => void): Promise<void>;
  addToken(file: string, name: string, scopes: readonly string[]): Promise<string>;
  listTokens(file: string): Promise<{ name: string; scopes: string[]; created: string }[]>;
  removeToken(file: string, name: string): Promise<boolean>;
  SCOPES: readonly string[];
}

async function run(args: string[], io: Io): Promise<number> {
  const { values, positionals } = parse(args, options);
  if (positionals.length > 0) throw new UsageError(`serve takes options only, got ${JSON.stringify(positionals[0])}`);
  const { config, 'add-token': added, 'remove-token': removed } = values;
  if (values.scopes !== undefined && added === undefined) throw new UsageError('--scopes goes with --add-token');
  const service = await load();
  if (values.check) {
    await service.loadConfig(config);
    io.stdout.write(`${config}: no mistakes\n`);
  } else if (added !== undefined) {
    const scopes = (values.scopes ?? 'read').split(',');
    const unknown = scopes.find((scope) => !service.SCOPES.includes(scope));
    if (unknown !== undefined) throw new UsageError(`--scopes are ${service.SCOPES.join(', ')}; got ${JSON.stringify(unknown)}`);
    io.stdout.write(`${await service.addToken(config, added, scopes)}\n`);
  } else if (removed !== undefined) {
    if (!(await service.removeToken(config, removed))) throw new FaissVisionError('ERR_TOKEN_UNKNOWN', `there is no token "${removed}"`);
  } else if (values.tokens) {
    for (const { name, scopes, created } of await service.listTokens(config)) io.stdout.write(`${name}  ${scopes.join(',')}  since ${created}\n`);
  } else {
    await service.serve(config, (address) => io.stderr.write(`faiss-vision serves at ${address}\n`));
  }
  return exitCode.yes;
}

async function load(): Promise<ServicePackage> {
  try {
    return (await import(PACKAGE)) as ServicePackage;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== 'ERR_MODULE_NOT_FOUND' || !message.includes(PACKAGE)) throw cause;
    throw new FaissVisionError('ERR_SERVICE_UNAVAILABLE', `the service is a package of its own, which is not installed; install it with: npm install ${PACKAGE}`, { cause });
  }
}

export const serve: Command = { name: 'serve', summary: 'cameras, recognition, rules and a page, until stopped', usage, run };
