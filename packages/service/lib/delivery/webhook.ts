import { createHmac } from 'node:crypto';
import type { WebhookConfig } from '../config/schema.js';
import { FaissVisionError } from '../error.js';
import type { ServiceEvent } from '../store/events.js';
import type { Sink } from './outbox.js';

/** What a sink or an action sends. */
export interface Message {
  /** The same for every attempt. */
  id: string;
  body: unknown;
}

/** The bytes that sign: a secret as it is, or what is written in base64 after `whsec_`. */
export function keyOf(secret: string): Buffer {
  return secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret);
}

/**
 * Posts JSON, signed as Standard Webhooks 1.0 says: headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, the HMAC-SHA256
 * of `id.timestamp.body`. Anything but an answer of 2xx is a failure; redirects are not followed.
 */
export class Webhook implements Sink {
  readonly name: string;
  readonly config: WebhookConfig;
  readonly #key: Buffer;

  constructor(config: WebhookConfig) {
    this.name = `webhook:${config.name}`;
    this.config = config;
    this.#key = keyOf(config.secret);
  }

  wants({ type, camera }: Pick<ServiceEvent, 'type' | 'camera'>): boolean {
    const { events, cameras, rulesOnly } = this.config;
    return !rulesOnly && (events?.includes(type) ?? true) && (cameras?.includes(camera) ?? true);
  }

  async deliver(event: ServiceEvent, signal: AbortSignal): Promise<void> {
    await this.send({ id: event.id, body: { event } }, signal);
  }

  /** @throws ERR_WEBHOOK */
  async send({ id, body }: Message, signal?: AbortSignal): Promise<void> {
    const { name, url, timeout } = this.config;
    const text = JSON.stringify(body);
    const timestamp = String(Math.floor(Date.now() / 1000));
    const limit = AbortSignal.timeout(timeout * 1000);
    let response: Response;
    try {
      response = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': 'faiss-vision',
          'webhook-id': id,
          'webhook-timestamp': timestamp,
          'webhook-signature': `v1,${createHmac('sha256', this.#key).update(`${id}.${timestamp}.${text}`).digest('base64')}`,
        },
        body: text,
        redirect: 'manual',
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
      });
    } catch (cause) {
      const why = limit.aborted ? `no answer in ${timeout} s` : ((cause as Error).cause as Error | undefined)?.message ?? (cause as Error).message;
      throw new FaissVisionError('ERR_WEBHOOK', `webhook ${name}: ${why}`, { cause });
    }
    await response.body?.cancel().catch(() => {});
    if (!response.ok) throw new FaissVisionError('ERR_WEBHOOK', `webhook ${name} answers ${response.status}`);
  }
}
