import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { milvusFolder, milvusMissing } from '../../scripts/setup/milvus.mjs';
import { freePort } from './broker';

const READY_MS = 120_000;
/** Its writes wait for the disk, dozens in each test; a killed process loses nothing in memory files. */
const MEMORY = '/dev/shm';

/** Why the tests of Milvus cannot run here, undefined where they can. */
export const missing: string | undefined = milvusMissing();

/** The server program of milvus-lite on the loopback, with one file. */
export class MilvusServer {
  readonly port: number;
  readonly folder: string;
  #child: ChildProcess | undefined;
  #said = '';

  private constructor(port: number) {
    this.port = port;
    this.folder = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'faiss-vision-milvus-'));
    process.on('exit', this.#atExit);
  }

  static async start(): Promise<MilvusServer> {
    const server = new MilvusServer(await freePort());
    await server.start();
    return server;
  }

  /** Begins it, again on the same file where it was ended. */
  async start(): Promise<void> {
    const programs = milvusFolder();
    if (programs === undefined) throw new Error('the Milvus server is not there: run node scripts/setup.mjs --only milvus --tests');
    const args = [join(this.folder, 'gallery.db'), `127.0.0.1:${this.port}`, 'ERROR'];
    const child = spawn(join(programs, 'milvus'), args, {
      cwd: this.folder,
      env: { ...process.env, LD_LIBRARY_PATH: programs },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (this.#said = (this.#said + text).slice(-4000)));
    this.#child = child;
    for (const end = Date.now() + READY_MS; !(await this.#answers()); await pause(50)) {
      if (child.exitCode !== null || child.signalCode !== null || Date.now() > end) throw new Error(`the Milvus server did not start: ${this.#said}`);
    }
  }

  async #answers(): Promise<boolean> {
    const socket = createConnection(this.port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return true;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }

  url(collection: string, port = this.port): string {
    return `milvus://127.0.0.1:${port}/${collection}`;
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  async remove(): Promise<void> {
    await this.kill();
    process.off('exit', this.#atExit);
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** A test that fails must not leave a server behind. */
  readonly #atExit = () => {
    this.#child?.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  };
}
