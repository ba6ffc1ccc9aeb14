/** The seeded picture of test/golden/README.md: `height` x `width` RGB bytes from a name, the same in any language. */
export function seededImage(name: string, height: number, width: number): Uint8Array {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return Uint8Array.from({ length: height * width * 3 }, (_, i) => {
    let x = (hash + Math.imul(i, 0x9e3779b9)) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    x = (x ^ (x >>> 16)) >>> 0;
    return ((x >>> 8) / 2 ** 24) * 256;
  });
}
