import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { freePort } from './broker';

type Way = 'up' | 'down';

/** Stands between a client and a server of the loopback, and does to their connections what networks do. */
export class TcpProxy {
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #port: number;
  #cut: { way: Way; bytes: number } | undefined;
  #silent = false;
  /** How often a connection was cut. */
  cuts = 0;

  private constructor(target: number, port: number) {
    this.#target = target;
    this.#port = port;
  }

  static async start(target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target, await freePort());
    await proxy.accept();
    return proxy;
  }

  get port(): number {
    return this.#port;
  }

  /** Ends the connection in the middle, once, after so many more bytes have gone up to the server, or down to the client. */
  cutAfter(bytes: number, way: Way): void {
    this.#cut = { way, bytes };
  }

  /** Whether nothing gets through, though connections stay. */
  set silent(silent: boolean) {
    this.#silent = silent;
    for (const socket of this.#sockets)
      if (silent) socket.pause();
      else socket.resume();
  }

  /** Takes no connections, and ends those there are. */
  async refuse(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    server.close();
    this.#endAll();
    await once(server, 'close');
  }

  /** Takes connections, on the same port as before. */
  async accept(): Promise<void> {
    if (this.#server !== undefined) return;
    this.#server = createServer((client) => this.#connect(client)).listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  #endAll(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #connect(client: Socket): void {
    const server = createConnection(this.#target, '127.0.0.1');
    const join = (from: Socket, to: Socket, way: Way) => {
      this.#sockets.add(from);
      from.on('data', (bytes: Buffer) => this.#pass(bytes, to, way));
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      if (this.#silent) from.pause();
    };
    join(client, server, 'up');
    join(server, client, 'down');
  }

  #pass(bytes: Buffer, to: Socket, way: Way): void {
    const cut = this.#cut;
    if (cut?.way === way && bytes.length > cut.bytes) {
      this.#cut = undefined;
      this.cuts++;
      // What was before the cut still arrives.
      if (cut.bytes > 0) to.write(bytes.subarray(0, cut.bytes), () => this.#endAll());
      else this.#endAll();
      return;
    }
    if (cut?.way === way) cut.bytes -= bytes.length;
    to.write(bytes);
  }
}
