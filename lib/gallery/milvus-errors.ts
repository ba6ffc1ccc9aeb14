/** What every answer of Milvus has: a status, or it is one. */
export interface Answer {
  status?: unknown;
  error_code?: unknown;
}

/** Why a request was not answered as wanted. */
export interface Failure {
  code: string;
  text: string;
  /** Whether the same request may succeed a moment later. */
  again: boolean;
  cause?: unknown;
}

// grpc.io/docs/guides/status-codes
const GRPC = {
  CANCELLED: 1,
  DEADLINE_EXCEEDED: 4,
  PERMISSION_DENIED: 7,
  ABORTED: 10,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
};
// A connection that breaks in the middle of an answer is INTERNAL.
const GRPC_AGAIN: readonly number[] = [GRPC.CANCELLED, GRPC.DEADLINE_EXCEEDED, GRPC.ABORTED, GRPC.INTERNAL, GRPC.UNAVAILABLE];

// Milvus's own, pkg/util/merr/errors.go: not ready, unavailable, too many requests, rate limit, clocks behind, not loaded yet,
// recovering, channel away.
export const NOT_LOADED = 101;
const MILVUS_AGAIN: readonly number[] = [1, 2, 4, 8, 11, NOT_LOADED, 103, 106, 503];
const MILVUS_FULL: readonly number[] = [3, 7, 9]; // memory, disk, quota
const COLLECTION_NOT_FOUND = 100;
const MILVUS_DENIED: readonly number[] = [1400, 1401]; // privileges

interface Status {
  error_code: unknown;
  code?: number;
  reason?: string;
  retriable?: boolean;
}

/** What an answer complains of, undefined where it is a good one. */
export function answerError(answer: Answer): Failure | undefined {
  const status = (answer.status ?? answer) as Partial<Status>;
  // The SDK makes an empty answer of "not implemented".
  if (status.error_code === undefined) return { code: 'ERR_GALLERY_REFUSED', text: 'the server does not know this request', again: false };
  const { code = 0, reason = '', error_code: name, retriable = false } = status;
  if (code === 0 && (name === 'Success' || name === 0)) return undefined;
  const text = `the server refused: ${reason.split('\n')[0]} (Milvus code ${code})`;
  if (MILVUS_FULL.includes(code)) return { code: 'ERR_GALLERY_FULL', text, again: false };
  if (code === COLLECTION_NOT_FOUND) {
    return { code: 'ERR_GALLERY_CORRUPT', text: `${text}: somebody dropped it, or another process changed the model`, again: false };
  }
  if (retriable || MILVUS_AGAIN.includes(code)) return { code: 'ERR_GALLERY_BUSY', text, again: true };
  return { code: MILVUS_DENIED.includes(code) ? 'ERR_GALLERY_DENIED' : 'ERR_GALLERY_REFUSED', text, again: false };
}

/** What the SDK threw: an error of gRPC, an answer, or one of its own. */
export function failureOf(thrown: unknown): Failure {
  const { code, details, message, status, error_code: name } = thrown as { code?: unknown; details?: string; message?: string } & Answer;
  if (!(thrown instanceof Error) && (status !== undefined || name !== undefined)) {
    const failure = answerError(thrown as Answer);
    if (failure !== undefined) return failure;
  }
  const text = (details ?? message ?? String(thrown)).split('\n')[0]!.trim();
  if (typeof code !== 'number') return { code: 'ERR_GALLERY_REFUSED', text: `the answer could not be read: ${text}`, again: false, cause: thrown };
  if (code === GRPC.UNAUTHENTICATED || code === GRPC.PERMISSION_DENIED) {
    return { code: 'ERR_GALLERY_DENIED', text: `access denied: ${text}`, again: false, cause: thrown };
  }
  if (code === GRPC.DEADLINE_EXCEEDED) return { code: 'ERR_GALLERY_UNREACHABLE', text: 'no answer in time', again: true, cause: thrown };
  if (GRPC_AGAIN.includes(code)) {
    return { code: 'ERR_GALLERY_UNREACHABLE', text: `the server is not to be reached: ${text}`, again: true, cause: thrown };
  }
  return { code: 'ERR_GALLERY_REFUSED', text: `the server refused: ${text} (gRPC code ${code})`, again: false, cause: thrown };
}
