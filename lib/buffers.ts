import { types } from 'node:util';
import { isMainThread, markAsUntransferable } from 'node:worker_threads';

/** Up to this size the addons copy an array at once, which is cheaper than holding on to it (native/addon/arguments.h). */
const COPIED_BYTES = 64 * 1024;

type Numbers = Float32Array | Uint8Array | Uint8ClampedArray;

/** Whether a marked buffer really stays where it is: Node 22's ArrayBuffer.prototype.transfer() takes it away all the same. */
const markHolds = (() => {
  const probe = new ArrayBuffer(8);
  markAsUntransferable(probe);
  try {
    (probe as ArrayBuffer & { transfer?(): ArrayBuffer }).transfer?.();
  } catch {
    // Node 24 and later: refused, as it should be
  }
  return probe.byteLength === 8;
})();

/**
 * The same bytes where nobody frees them while they are held. What a worker thread has of another addon's memory, as sharp's pictures
 * are, Node frees when the thread is ended, before anything that waits for work under way; so there a Buffer, which may be such, is copied.
 */
export function lasting<T>(bytes: T): T | Uint8Array {
  return !isMainThread && Buffer.isBuffer(bytes) ? new Uint8Array(bytes) : bytes;
}

/** The memory of bytes that have it for themselves; a small Buffer may be a part of Node's pool. */
export function ownBuffer({ buffer, byteLength }: Uint8Array | Uint8ClampedArray): ArrayBuffer | undefined {
  return buffer.byteLength === byteLength ? (buffer as ArrayBuffer) : undefined;
}

/**
 * The same numbers in memory that stays valid while native code reads it on another thread: the array itself, marked
 * untransferable, or a copy where nothing can keep a caller from detaching, shrinking or sharing it.
 */
export function stable<T>(given: T): T {
  const array = lasting(given) as T;
  if (!ArrayBuffer.isView(array) || array.byteLength <= COPIED_BYTES || types.isDataView(array)) return array;
  const buffer = array.buffer as ArrayBufferLike & { resizable?: boolean; growable?: boolean };
  if (markHolds && !types.isSharedArrayBuffer(buffer) && buffer.resizable !== true) {
    markAsUntransferable(buffer);
    return array;
  }
  const numbers = array as unknown as Numbers;
  // Not slice() of the subclass: a Buffer's slice shares its memory.
  const Kind = numbers instanceof Float32Array ? Float32Array : Uint8Array;
  return new Kind(numbers as Uint8Array) as unknown as T;
}
