import { readFileSync } from 'node:fs';
import { EventEmitter } from 'node:events';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import type { MqttConfig } from '../config/schema.js';
import { FaissVisionError } from '../error.js';
import type { CameraStatus } from '../sources/camera.js';
import type { ServiceEvent } from '../store/events.js';
import type { Sink } from './outbox.js';

interface MqttEvents {
  connected: [];
  disconnected: [];
  /** Once for each reason, until it is connected again. */
  failed: [error: Error];
}

/**
 * The broker. Topics, below the one that the configuration names: `status` (online or offline, retained, the last will),
 * `cameras/ID/state` (retained), `cameras/ID/events`. Quality of service 1 everywhere.
 */
export class Mqtt extends EventEmitter<MqttEvents> implements Sink {
  readonly name = 'mqtt';
  readonly #topic: string;
  readonly #url: string;
  readonly #options: IClientOptions;
  #client: MqttClient | undefined;
  /** What is to be said again after each connection. */
  readonly #retained = new Map<string, string>();
  /** Why there is no connection, as far as it was told. */
  #failure: string | undefined;
  #ended = false;

  /** @param clientId the same over restarts */
  constructor(config: MqttConfig, clientId: string) {
    super();
    this.#topic = config.topic;
    this.#url = config.url;
    this.#options = {
      clientId: config.clientId ?? clientId,
      // What is under way when a connection breaks is owed by the outbox, and the broker needs to keep nothing of ours.
      clean: true,
      queueQoSZero: false,
      reconnectPeriod: 1000,
      // A broker that has just come up refuses for a while, and a password that is wrong now may be right later.
      reconnectOnConnackError: true,
      connectTimeout: 10_000,
      keepalive: 15,
      will: { topic: `${this.#topic}/status`, payload: Buffer.from('offline'), qos: 1, retain: true },
    };
    if (config.username !== undefined) this.#options.username = config.username;
    if (config.password !== undefined) this.#options.password = config.password;
    if (config.ca !== undefined) this.#options.ca = readFileSync(config.ca);
  }

  /** From here on, until `close`, it is connected or tries to be. */
  connect(): void {
    this.#client = connect(this.#url, this.#options);
    this.#client.on('connect', () => {
      this.#failure = undefined;
      this.#publishRetained('status', 'online');
      for (const [topic, payload] of this.#retained) this.#publishRetained(topic, payload);
      this.emit('connected');
    });
    this.#client.on('close', () => this.emit('disconnected'));
    this.#client.on('error', (error) => {
      // One that is away for long would fill the log, as it is asked every second.
      if (error.message !== this.#failure) this.emit('failed', error);
      this.#failure = error.message;
    });
  }

  get connected(): boolean {
    return this.#client?.connected ?? false;
  }

  wants(): boolean {
    return true;
  }

  async deliver(event: ServiceEvent, signal: AbortSignal): Promise<void> {
    await this.#publish(`${this.#topic}/cameras/${event.camera}/events`, JSON.stringify(event), false, signal);
  }

  /**
   * Sends once and now: never later, when the connection is back, and never again.
   * @throws ERR_MQTT with `unknown` true where it was sent and no answer came
   */
  async send(topic: string, payload: string, { retain = false, timeout = 5000 } = {}): Promise<void> {
    await this.#publish(topic, payload, retain, AbortSignal.timeout(timeout));
  }

  /** A camera's state; the broker keeps it for whoever comes later. */
  tellState(camera: string, { state, reason, since }: CameraStatus): void {
    const topic = `cameras/${camera}/state`;
    const payload = JSON.stringify({ state, ...(reason === undefined ? {} : { reason }), since: since.toISOString() });
    this.#retained.set(topic, payload);
    if (this.connected) this.#publishRetained(topic, payload);
  }

  /** Says goodbye where there is a connection. */
  async close(): Promise<void> {
    this.#ended = true;
    const offline = () => this.#publish(`${this.#topic}/status`, 'offline', true, AbortSignal.timeout(2000));
    // A broker that does not answer would keep the goodbye waiting as well; its will says the same.
    const heard = this.connected && (await offline().then(() => true, () => false));
    await this.#client?.endAsync(!heard);
  }

  #publishRetained(topic: string, payload: string): void {
    this.#publish(`${this.#topic}/${topic}`, payload, true, AbortSignal.timeout(10_000)).catch(() => {
      // It is said again after the next connection.
    });
  }

  /** Resolves with the broker's acknowledgement. Without a connection, or when it breaks, it fails, and nothing is sent later. */
  #publish(topic: string, payload: string, retain: boolean, signal: AbortSignal): Promise<void> {
    const client = this.#client;
    if (!client?.connected) return Promise.reject(new FaissVisionError('ERR_MQTT', this.#ended ? 'the service stops' : 'the broker is not connected'));
    return new Promise((resolve, reject) => {
      let id: number | undefined;
      const finish = (error?: Error) => {
        client.off('close', broken);
        signal.removeEventListener('abort', aborted);
        if (error) reject(error);
        else resolve();
      };
      const forget = (why: string) => {
        finish(Object.assign(new FaissVisionError('ERR_MQTT', why), { unknown: true }));
        // mqtt would send it again with the next connection; it calls back with an error of its own, which comes too late now.
        if (id !== undefined) client.removeOutgoingMessage(id);
      };
      const broken = () => forget('the connection to the broker broke before it answered');
      const aborted = () => forget('the broker did not answer in time');
      client.once('close', broken);
      signal.addEventListener('abort', aborted, { once: true });
      client.publish(topic, payload, { qos: 1, retain }, (error) => finish(error ?? undefined));
      id = client.getLastMessageId();
    });
  }
}
