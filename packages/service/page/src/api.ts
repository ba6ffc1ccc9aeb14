import { signal } from '@preact/signals';
import type { Failure } from './types';

const KEY = 'faiss-vision:token';

/** Kept until the tab is closed, and sent in a header alone: no address and no log ever has it. */
export const token = signal(sessionStorage.getItem(KEY) ?? undefined);

export function keepToken(value: string | undefined): void {
  if (value === undefined) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, value);
  token.value = value;
}

/** Why the service did not do it; `status` 0 where it did not answer at all. */
export class ApiError extends Error {
  readonly status: number;
  readonly failure: Partial<Failure>;

  constructor(status: number, failure: Partial<Failure>) {
    super(failure.message ?? `the service answered ${status}`);
    this.status = status;
    this.failure = failure;
  }
}

export interface CallOptions {
  method?: string;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is. */
  body?: Blob;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** @param path below the service's own address, such as `v1/cameras` @throws ApiError */
export async function call(path: string, { method = 'GET', json, body, headers = {}, signal }: CallOptions = {}): Promise<Response> {
  const all = new Headers(headers);
  if (token.value !== undefined) all.set('authorization', `Bearer ${token.value}`);
  if (json !== undefined) all.set('content-type', 'application/json');
  // The service tells a picture by its bytes, and says what is wrong with them; the browser's guess at a type decides nothing.
  if (body !== undefined) all.set('content-type', 'image/jpeg');
  const sent = json !== undefined ? JSON.stringify(json) : body;
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: all,
      credentials: 'omit',
      ...(sent === undefined ? {} : { body: sent }),
      ...(signal ? { signal } : {}),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, { code: 'ERR_UNREACHABLE', message: 'the service does not answer' });
  }
  if (!response.ok) throw new ApiError(response.status, (await response.json().catch(() => ({}))) as Partial<Failure>);
  return response;
}

/** @throws ApiError */
export async function ask<T>(path: string, options?: CallOptions): Promise<T> {
  const response = await call(path, options);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export function query(values: Record<string, string | number | undefined>): string {
  const given = Object.entries(values).filter((entry): entry is [string, string | number] => entry[1] !== undefined && entry[1] !== '');
  return given.length === 0 ? '' : `?${new URLSearchParams(given.map(([key, value]) => [key, String(value)]))}`;
}
