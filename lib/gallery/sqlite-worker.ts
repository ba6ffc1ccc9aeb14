import { parentPort, workerData } from 'node:worker_threads';
import { FaissVisionError } from '../error';
import type { DatabaseOptions } from './database';
import { Changes } from './sqlite-changes';
import { GalleryFile } from './sqlite-file';
import { NextModel } from './sqlite-models';
import { People } from './sqlite-people';

// The thread that owns the connection: a write with full sync takes milliseconds, which the event loop must not.

/** What changes something; what waits of these becomes one transaction, so that one sync does for all. */
const WRITES = new Set(['enroll', 'update', 'removePerson', 'removeFace', 'stage', 'adopt', 'noteSnapshot']);
const GROUP = 256;
/** How often others' writes are looked for: that takes some microseconds. */
const POLL_MS = 200;
/** How many of these pass until what could not be erased is tried again. */
const ERASE_POLLS = 25;

export interface Request {
  id: number;
  method: string;
  args: unknown[];
}

export type Reply = { id: number; result: unknown } | { id: number; error: { code: string; message: string } | Error };

const port = parentPort!;
const waiting: Request[] = [];
let file: GalleryFile;
let changes: Changes;
let parts: object[];
/** Whether the other side has an index to keep up to date. */
let following = false;
let failed: unknown;
let polls = 0;

const own = {
  source: () => {
    const source = changes.source();
    following = true;
    return source;
  },
  sync: () => follow(),
};

function call({ method, args }: Request): unknown {
  const part = [own, ...parts].find((some) => method in some) as Record<string, (...args: unknown[]) => unknown>;
  return part[method]!(...args);
}

/** Sends what is new, before the reply to what made it. */
function follow(): void {
  if (!following) return;
  try {
    if (failed !== undefined) throw failed;
    for (let delta = changes.delta(); delta !== undefined; delta = changes.delta()) {
      port.postMessage({ delta }, [delta.added.labels.buffer as ArrayBuffer, delta.added.features.buffer as ArrayBuffer]);
    }
  } catch (error) {
    failed = error;
    following = false;
    port.postMessage({ failed: plain(error) });
  }
}

function plain(error: unknown): { code: string; message: string } | Error {
  if (error instanceof FaissVisionError) return { code: error.code, message: error.message };
  return error instanceof Error ? error : new Error(String(error));
}

function answer(id: number, work: () => unknown): void {
  let reply: Reply;
  try {
    reply = { id, result: work() };
  } catch (error) {
    reply = { id, error: plain(error) };
  }
  port.postMessage(reply);
}

/** One transaction for all; each of them whole or not at all. */
function writeAll(group: Request[]): void {
  let outcomes: (() => unknown)[];
  try {
    outcomes = file.write(() =>
      group.map((request) => {
        try {
          const result = file.part(() => call(request));
          return () => result;
        } catch (error) {
          // A full disk ends the whole transaction: then nothing of it may be reported as done.
          if (!file.inTransaction) throw error;
          return () => {
            throw error;
          };
        }
      }),
    );
  } catch (error) {
    outcomes = group.map(() => () => {
      throw error;
    });
  }
  follow();
  group.forEach(({ id }, i) => answer(id, outcomes[i]!));
}

function work(): void {
  while (waiting.length > 0) {
    let writes = 0;
    while (writes < Math.min(waiting.length, GROUP) && WRITES.has(waiting[writes]!.method)) writes++;
    if (writes > 0) {
      writeAll(waiting.splice(0, writes));
    } else {
      const request = waiting.shift()!;
      if (request.method === 'close') return close(request);
      answer(request.id, () => call(request));
    }
  }
}

function poll(): void {
  try {
    if (changes.maybeChanged()) follow();
    if (file.erasing && ++polls % ERASE_POLLS === 0) file.erase();
  } catch {
    // Nobody asked: the next call has the same trouble, and somebody to tell.
  }
}

function close({ id }: Request): void {
  clearInterval(polling);
  answer(id, () => file.close());
  port.close();
}

let polling: NodeJS.Timeout;
answer(0, () => {
  file = new GalleryFile(workerData as DatabaseOptions);
  changes = new Changes(file);
  parts = [changes, new People(file), new NextModel(file)];
  polling = setInterval(poll, POLL_MS);
  port.on('message', (request: Request) => {
    // What arrives together is done together: the first one waits for the rest of this turn.
    if (waiting.push(request) === 1) setImmediate(work);
  });
  return { mark: file.mark, encrypted: file.encrypted };
});
