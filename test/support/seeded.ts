/** The golden data's seeded numbers in [0, 1), from a name and an index: the same in any language (test/golden/README.md). */
export function seeded(name: string, count: number): Float32Array {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return Float32Array.from({ length: count }, (_, i) => {
    let x = (hash + Math.imul(i, 0x9e3779b9)) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    x = (x ^ (x >>> 16)) >>> 0;
    return (x >>> 8) / 2 ** 24;
  });
}

/** A seeded picture: `height` x `width` RGB bytes from a name. */
export function seededImage(name: string, height: number, width: number): Uint8Array {
  return Uint8Array.from(seeded(name, height * width * 3), (value) => value * 256);
}
