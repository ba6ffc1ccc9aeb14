import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { photosFolder } from '../../dist/models/cache';
import { film } from '../../scripts/service/film.mjs';

const main = join(__dirname, '../../dist/cli/main.js');

export const photo = (name: string) => join(photosFolder(), 'face_recognition', name);

let made: Promise<Buffer[]> | undefined;

/** Obama comes and goes, then Biden, then nobody: the frames as JPEG. */
export function visits(): Promise<Buffer[]> {
  return (made ??= film(
    ['obama2.jpg', 'biden.jpg'].map((name) => ({ photo: photo(name), name })),
    { nobody: 25, staying: 15, moving: 6 },
  ) as Promise<Buffer[]>);
}

/** `faiss-vision serve` in a process and a folder of its own. */
export class RunningService {
  readonly folder = mkdtempSync(join(tmpdir(), 'faiss-vision-serve-'));
  readonly file = join(this.folder, 'serve.yaml');
  url = '';
  #process: ChildProcess | undefined;
  #said = '';
  #ended: Promise<number | string> = Promise.resolve(0);

  /** @param config as an object: JSON is YAML */
  constructor(config: object) {
    writeFileSync(this.file, JSON.stringify({ http: { port: 0 }, ...config }));
  }

  /** Starts, also again after an end; resolves once it listens. */
  async start(): Promise<this> {
    this.#said = '';
    const child = spawn(process.execPath, [main, 'serve', '--config', this.file], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    this.#ended = new Promise((resolve) => child.once('close', (code, signal) => resolve(code ?? signal!)));
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
    await new Promise<void>((resolve, reject) => {
      child.stderr.on('data', () => {
        const [, url] = /serves at (\S+)/.exec(this.#said) ?? [];
        if (url !== undefined) {
          this.url = url;
          resolve();
        }
      });
      void this.#ended.then((code) => reject(new Error(`the service ended with ${code}:\n${this.#said}`)));
    });
    return this;
  }

  get pid(): number {
    return this.#process!.pid!;
  }

  get said(): string {
    return this.#said;
  }

  /** A request; the answer's status and JSON. */
  async call(method: string, path: string, body?: Buffer | object, headers: Record<string, string> = {}): Promise<{ status: number; body: any }> {
    const type = Buffer.isBuffer(body) ? 'image/jpeg' : 'application/json';
    const response = await fetch(new URL(path, this.url), {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': type }), ...headers },
      ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: text === '' ? undefined : response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text,
    };
  }

  async enroll(name: string, file: string): Promise<void> {
    const { status, body } = await this.call('POST', `/v1/people?name=${encodeURIComponent(name)}`, readFileSync(photo(file)));
    if (status !== 201) throw new Error(`${name} was not enrolled: ${status} ${JSON.stringify(body)}`);
  }

  async events(): Promise<any[]> {
    return (await this.call('GET', '/v1/events?after=0&limit=1000')).body.events as any[];
  }

  /** @returns the exit code, or the signal that ended it */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string> {
    this.#process?.kill(signal);
    return this.#ended;
  }

  async close(): Promise<void> {
    await this.stop('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
