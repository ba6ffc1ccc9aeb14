import type { FastifyError, FastifyInstance } from 'fastify';
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
  app.setErrorHandler((error: FastifyError, request, reply) => {
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
  });
  app.setNotFoundHandler((request, reply) => {
    void reply.status(404).send({ code: 'ERR_NOT_FOUND', message: `there is no ${request.method} here`, requestId: request.id });
  });
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
