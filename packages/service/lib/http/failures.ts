import type { Socket } from 'node:net';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { codeOf } from '../error.js';

/** A failure with its status. */
export class HttpError extends Error {
  readonly statusCode: number;
  readonly code: string;

  constructor(statusCode: number, code: string, message: string) {
    super(message);
    this.statusCode = statusCode;
    this.code = code;
  }
}

/** What the libraries' errors are over HTTP. */
const STATUS: Record<string, number> = {
  ERR_IMAGE_DECODE: 422,
  ERR_IMAGE_EMPTY: 422,
  ERR_IMAGE_TOO_LARGE: 413,
  ERR_NO_FACE: 422,
  ERR_MANY_FACES: 422,
  ERR_FACE_QUALITY: 422,
  ERR_PERSON_UNKNOWN: 404,
  ERR_FACE_UNKNOWN: 404,
  ERR_NAME_TAKEN: 409,
  ERR_ID_TAKEN: 409,
  ERR_INVALID_ARGUMENT: 400,
  ERR_GALLERY_READONLY: 503,
  ERR_GALLERY_FULL: 507,
  ERR_GALLERY_BUSY: 503,
  ERR_GALLERY_UNREACHABLE: 503,
  ERR_CLOSED: 503,
};

/** Every failure as `{ code, message, requestId }`; what is a mistake in the code tells nothing of itself. */
export function tellFailures(app: FastifyInstance): void {
  app.setErrorHandler(tellFailure);
  app.setNotFoundHandler((request, reply) => {
  void reply.status(404).send({ code: 'ERR_NOT_FOUND', message: `there is no ${request.method} here`, requestId: request.id });
  });
}

export function tellFailure(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const code = codeOf(error) ?? 'ERR_INTERNAL';
  const status = statusOf(error, code);
  if (status >= 500) request.log.error({ err: error }, 'a request failed');
  else request.log.debug({ code }, 'a request was refused');
  const inside = status === 500;
  void reply.status(status).send({
    code: inside ? 'ERR_INTERNAL' : error.validation ? 'ERR_INVALID_ARGUMENT' : code.replace(/^FST_ERR_/, 'ERR_').replace(/^FST_/, 'ERR_'),
    message: inside ? 'the service failed; its log says why, by the request id' : error.message,
    requestId: request.id,
    ...verdict(error),
  });
}

/** Requests that never become one: Node's parser refuses them, or a limit does. */
const BROKEN: Record<string, [status: number, what: string, code: string]> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large', 'ERR_HEADERS_TOO_LARGE'],
  HPE_INVALID_METHOD: [405, 'Method Not Allowed', 'ERR_METHOD'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout', 'ERR_TOO_SLOW'],
};

/** Answers on the bare connection, in the same shape, and closes it. */
export function refuseBroken(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const [status, what, code] = BROKEN[error.code ?? ''] ?? [400, 'Bad Request', 'ERR_BAD_REQUEST'];
  const body = JSON.stringify({ code, message: what.toLowerCase(), requestId: '' });
  socket.end(`HTTP/1.1 ${status} ${what}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
}

function statusOf(error: FastifyError, code: string): number {
  if (error.statusCode !== undefined && error.statusCode >= 400) return error.statusCode;
  if (code in STATUS) return STATUS[code]!;
  return 500;
}

/** Why a face is not good enough to be enrolled. */
function verdict(error: unknown): { reason?: string; measured?: Record<string, number> } {
  const { reason, measured } = error as { reason?: string; measured?: Record<string, number> };
  return measured === undefined || reason === undefined ? {} : { reason, measured };
}
