/**
 * The bytes of a NumPy file of float32, n x dimension, rows first.
 *
 * Layout (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0): a magic string, the
 * header's length as a little-endian u16, a Python dict literal padded so that the data begin on a multiple of 64.
 */
export function encodeNpy(rows: readonly Float32Array[], dimension: number): Buffer {
  const dict = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows.length}, ${dimension}), }`;
  const header = `${dict.padEnd(Math.ceil((10 + dict.length + 1) / 64) * 64 - 11)}\n`;
  const start = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 0xff, header.length >> 8]);
  return Buffer.concat([start, Buffer.from(header, 'latin1'), ...rows.map((row) => Buffer.from(row.buffer, row.byteOffset, row.byteLength))]);
}
