import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { findProgram, until } from './wait.js';

/** Debian's broker, which keeps its programs for administrators. */
export const mosquitto = findProgram('mosquitto', '/usr/sbin');

/** A port of the loopback that is free, and stays so: it is none of those that the system gives to whoever asks for any (from 32768 on). */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    const server = createServer().listen(port, '127.0.0.1');
    const free = await once(server, 'listening').then(() => true, () => false);
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** A mosquitto of its own. */
export class Broker {
  readonly port: number;
  readonly #folder = mkdtempSync(join(tmpdir(), 'faiss-vision-broker-'));
  #process: ChildProcess | undefined;

  private constructor(port: number) {
    this.port = port;
    const user = process.getuid?.() === 0 ? 'user root\n' : '';
    writeFileSync(join(this.#folder, 'mosquitto.conf'), `listener ${port} 127.0.0.1\nallow_anonymous true\n${user}`);
  }

  static async start(): Promise<Broker> {
    const broker = new Broker(await freePort());
    await broker.restart();
    return broker;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  async restart(): Promise<void> {
    this.#process = spawn(mosquitto!, ['-c', join(this.#folder, 'mosquitto.conf')], { stdio: 'ignore' });
    await until('the broker answers', async () => {
      const client = await connectAsync(this.url, { reconnectPeriod: 0, connectTimeout: 5000 }).catch(() => undefined);
      await client?.endAsync();
      return client !== undefined;
    });
  }

  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.#process!.once('close', resolve));
    this.#process!.kill('SIGKILL');
    await gone;
  }

  signal(signal: NodeJS.Signals): void {
    this.#process!.kill(signal);
  }

  async close(): Promise<void> {
    if (this.#process?.exitCode === null && this.#process.signalCode === null) await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export interface Received {
  topic: string;
  payload: string;
  retain: boolean;
}

/** Everything that a broker hands out, over its restarts too. */
export class Subscriber {
  readonly received: Received[] = [];
  readonly #client: MqttClient;

  private constructor(client: MqttClient) {
    this.#client = client;
    client.on('message', (topic, payload, { retain }) => this.received.push({ topic, payload: payload.toString(), retain }));
    client.on('error', () => {});
  }

  static async open(broker: Broker, topic = '#'): Promise<Subscriber> {
    const client = await connectAsync(broker.url, { reconnectPeriod: 50 });
    const subscriber = new Subscriber(client);
    await client.subscribeAsync(topic, { qos: 1 });
    return subscriber;
  }

  of(topic: string): Received[] {
    return this.received.filter((message) => message.topic === topic);
  }

  /** The events of all cameras, or one's. */
  events(camera = ''): { id: string; sequence: number; type: string; camera: string; person?: { name: string } }[] {
    return this.received
      .filter((message) => /\/cameras\/[^/]+\/events$/.test(message.topic) && message.topic.includes(`/${camera}`))
      .map(({ payload }) => JSON.parse(payload) as never);
  }

  get connected(): boolean {
    return this.#client.connected;
  }

  async close(): Promise<void> {
    await this.#client.endAsync(true);
  }
}
