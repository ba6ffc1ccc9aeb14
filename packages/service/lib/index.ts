import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { loadConfig } from './config/load.js';
import { openLogs } from './logs.js';
import { Service } from './service.js';
import { databaseFile, openDatabase } from './store/database.js';
import { SCOPES, Tokens, type Scope, type TokenInfo } from './store/tokens.js';

export { loadConfig, openLogs, Service, SCOPES };
export type { Config } from './config/schema.js';

/**
 * Runs the service of a configuration until SIGINT or SIGTERM.
 * @param onListening is told the address
 * @throws ERR_CONFIG_INVALID and what opening and listening throw
 */
export async function serve(file: string, onListening: (address: string) => void = () => {}): Promise<void> {
  const { config } = await loadConfig(file);
  const service = await Service.open(config, await openLogs(config.logs));
  const asked = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve());
  });
  try {
    onListening(await service.start());
    tellSystemd(service);
    await asked;
  } finally {
    await service.stop();
  }
}

/** That it runs, where the unit that started this waits for it (Type=notify): Node has no sockets of that kind. */
function tellSystemd({ log }: Service): void {
  if (!process.env.NOTIFY_SOCKET) return;
  spawn('systemd-notify', ['--ready'], { stdio: 'ignore' }).on('error', (error) => log.warn({ reason: error.message }, 'systemd was not told'));
}

/** Makes a token for the API of a configuration's service and returns it; it is written nowhere. */
export async function addToken(file: string, name: string, scopes: readonly Scope[]): Promise<string> {
  return withTokens(file, (tokens) => tokens.create(name, scopes));
}

export async function listTokens(file: string): Promise<TokenInfo[]> {
  return withTokens(file, (tokens) => tokens.list());
}

/** @returns whether there was one */
export async function removeToken(file: string, name: string): Promise<boolean> {
  return withTokens(file, (tokens) => tokens.remove(name));
}

async function withTokens<T>(file: string, work: (tokens: Tokens) => T): Promise<T> {
  const { config } = await loadConfig(file);
  mkdirSync(config.data, { recursive: true, mode: 0o750 });
  const db = openDatabase(databaseFile(config.data));
  try {
    return work(new Tokens(db));
  } finally {
    db.close();
  }
}
