/** Tries every way of taking a buffer's memory away; where Node refuses, the memory stays. */
export function takeAway(buffer: ArrayBufferLike): void {
  const ways = [
    () => structuredClone(buffer, { transfer: [buffer as ArrayBuffer] }),
    () => (buffer as ArrayBuffer & { transfer?(): ArrayBuffer }).transfer?.(),
  ];
  for (const way of ways) {
    try {
      way();
    } catch {
      // refused
    }
  }
}
