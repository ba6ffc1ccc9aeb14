import { ApiError, call } from './api';

export interface Message {
  event: string;
  id: string;
  data: string;
}

export type StreamState = { open: true } | { open: false; reason: string };

export interface FollowOptions {
  /** Where to go on: the id of the last message that is known. */
  lastId?: string;
  onMessage(message: Message): void;
  onState(state: StreamState): void;
  /** The token does not do any more; nothing is tried again. */
  onRefused(error: ApiError): void;
}

/** The service says something every 15 s at least. */
const SILENCE = 40_000;
const LONGEST_WAIT = 30_000;

/**
 * Server-sent events by fetch, which can send the token in a header, as EventSource cannot. Opened again with growing waits, from the
 * message after the last one. A page that nobody sees lets go of its connections, of which a browser has six for all of its tabs.
 * @returns ends it
 */
export function follow(path: string, { lastId = '', onMessage, onState, onRefused }: FollowOptions): () => void {
  const end = new AbortController();
  let attempt = new AbortController();
  const onVisible = () => {
    if (document.hidden) attempt.abort();
  };
  document.addEventListener('visibilitychange', onVisible);
  void run();
  return () => {
    end.abort();
    attempt.abort();
    document.removeEventListener('visibilitychange', onVisible);
  };

  async function run(): Promise<void> {
    let failures = 0;
    while (!end.signal.aborted) {
      await visible(end.signal);
      attempt = new AbortController();
      let reason = 'the service does not answer';
      try {
        const headers: Record<string, string> = { accept: 'text/event-stream' };
        if (lastId !== '') headers['last-event-id'] = lastId;
        const response = await call(path, { headers, signal: attempt.signal });
        onState({ open: true });
        failures = 0;
        for await (const message of messages(response.body!, attempt)) {
          if (message.id !== '') lastId = message.id;
          onMessage(message);
        }
      } catch (error) {
        if (end.signal.aborted) return;
        if (error instanceof ApiError && (error.status === 401 || error.status === 403)) return onRefused(error);
        if (error instanceof ApiError) reason = error.message;
      }
      if (end.signal.aborted) return;
      if (document.hidden) continue;
      onState({ open: false, reason });
      failures++;
      const wait = Math.min(LONGEST_WAIT, 500 * 2 ** failures);
      await sleep(wait / 2 + (Math.random() * wait) / 2, end.signal);
    }
  }
}

/** WHATWG HTML, 9.2.6. It ends with the stream, or with the attempt once nothing came for long. */
async function* messages(body: ReadableStream<Uint8Array>, attempt: AbortController): AsyncGenerator<Message> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = '';
  let message: Message = { event: '', id: '', data: '' };
  let watch = setTimeout(() => attempt.abort(), SILENCE);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watch);
      watch = setTimeout(() => attempt.abort(), SILENCE);
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop()!;
      for (const line of lines) {
        if (line === '') {
          if (message.data !== '') yield message;
          message = { event: '', id: '', data: '' };
          continue;
        }
        const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line)!;
        if (field === 'data') message.data += message.data === '' ? text : `\n${text}`;
        else if (field === 'event' || field === 'id') message[field] = text!;
      }
    }
  } finally {
    clearTimeout(watch);
    reader.cancel().catch(() => {});
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}

function visible(signal: AbortSignal): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener('visibilitychange', () => resolve(), { once: true });
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
