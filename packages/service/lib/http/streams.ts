import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ServerResponse } from 'node:http';
import { HttpError } from './failures.js';

/** Bytes that may wait for a slow reader before the connection is given up; it comes back and says where it was. */
const MOST_WAITING = 4 * 2 ** 20;

/** The answers that do not end: their number, and their end. */
export class Streams {
  readonly #most: number;
  readonly #open = new Set<ServerResponse>();

  constructor(most: number) {
    this.#most = most;
  }

  get open(): number {
    return this.#open.size;
  }

  /** Takes an answer out of Fastify's hands. `onClose` is called once, when either side ends it. */
  begin(request: FastifyRequest, reply: FastifyReply, contentType: string, onClose: () => void): ServerResponse {
    if (this.#open.size >= this.#most) throw new HttpError(503, 'ERR_TOO_MANY', `there are ${this.#most} live streams already (http.streams)`);
    const headers = reply.getHeaders();
    reply.hijack();
    const response = reply.raw;
    this.#open.add(response);
    response.once('close', () => {
      this.#open.delete(response);
      onClose();
    });
    request.raw.socket.setNoDelay(true);
    response.writeHead(200, { ...headers, 'content-type': contentType, 'cache-control': 'no-store', 'x-accel-buffering': 'no' } as Record<
      string,
      string
    >);
    response.flushHeaders();
    return response;
  }

  closeAll(): void {
    for (const response of this.#open) response.end();
  }
}

/** Writes one server-sent event (WHATWG HTML, 9.2). Whoever reads too slowly is let go. */
export function sendEvent(response: ServerResponse, { event, id, data }: { event: string; id?: number; data: unknown }): void {
  if (response.writableLength > MOST_WAITING) {
    response.destroy();
    return;
  }
  response.write(`event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`);
}

/** A comment now and then, so that both sides notice a connection that is gone. */
export function keepAlive(response: ServerResponse): void {
  const timer = setInterval(() => response.write(': still here\n\n'), 15_000);
  timer.unref();
  response.once('close', () => clearInterval(timer));
}
