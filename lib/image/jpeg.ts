import { isSrgb } from './icc';

/**
 * The size of a JPEG file that a GPU's decoder takes and that needs nothing but decoding, by its header; undefined for every other, of
 * which sharp knows more: baseline, in one scan, of three colours as JFIF has them, upright, without a colour profile or with sRGB's, and
 * not cut off. Nothing of it is trusted: what is decoded is checked once more where it is decoded.
 */
export function plainJpeg(file: Buffer): { width: number; height: number } | undefined {
  if (file.length < 4 || file.readUInt16BE(0) !== 0xffd8 || file.readUInt16BE(file.length - 2) !== 0xffd9) return undefined;
  let size: { width: number; height: number } | undefined;
  let exif = false;
  for (let at = 2; at + 4 <= file.length; ) {
    const marker = file.readUInt16BE(at);
    const end = at + 2 + file.readUInt16BE(at + 2);
    const content = file.subarray(at + 4, end);
    if (end < at + 4 || end > file.length) return undefined;
    if (marker === 0xffda) return content[0] === 3 ? size : undefined; // start of the scan
    if (marker === 0xffc0 || marker === 0xffc1) {
      if (size !== undefined) return undefined;
      size = frame(content);
      if (size === undefined) return undefined;
    } else if (marker === 0xffe1 && starts(content, 'Exif\0\0')) {
      if (exif || !isUpright(content.subarray(6))) return undefined;
      exif = true;
    } else if (marker === 0xffe2 && starts(content, 'ICC_PROFILE\0')) {
      if (content[13] !== 1 || !isSrgb(content.subarray(14))) return undefined; // of one part
    } else if (marker === 0xffee && starts(content, 'Adobe')) {
      if (content[11] !== 1) return undefined; // colours as they are, or inverted
    } else if (marker < 0xffc4 || (marker > 0xffc4 && marker < 0xffdb) || marker === 0xffdc || marker === 0xffde || marker === 0xffdf || marker > 0xfffe) {
      return undefined; // progressive, arithmetic, hierarchical, or no marker
    }
    at = end;
  }
  return undefined;
}

/** Of 8 bits, three colours whose first is brightness, the others as often or half as often. */
function frame(content: Buffer): { width: number; height: number } | undefined {
  if (content.length !== 15 || content[0] !== 8 || content[5] !== 3) return undefined;
  const [first, second, third] = [6, 9, 12].map((at) => ({ id: content[at]!, sampling: content[at + 1]! }));
  if (first!.id === 0x52 || ![0x11, 0x12, 0x21, 0x22].includes(first!.sampling)) return undefined; // 'R', as in RGB
  if (second!.sampling !== 0x11 || third!.sampling !== 0x11) return undefined;
  const [height, width] = [content.readUInt16BE(1), content.readUInt16BE(3)];
  return width > 0 && height > 0 ? { width, height } : undefined;
}

/** Whether EXIF data say so, or nothing (EXIF 2.32, 4.5 and 4.6.4: tag 0x112 of the first directory). */
function isUpright(tiff: Buffer): boolean {
  const order = tiff.toString('latin1', 0, 2);
  if (tiff.length < 8 || (order !== 'II' && order !== 'MM')) return false;
  const short = (at: number) => (order === 'II' ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at));
  const directory = order === 'II' ? tiff.readUInt32LE(4) : tiff.readUInt32BE(4);
  if (directory + 2 > tiff.length) return false;
  const entries = short(directory);
  if (directory + 2 + 12 * entries > tiff.length) return false;
  for (let i = 0; i < entries; i++) {
    const at = directory + 2 + 12 * i;
    if (short(at) === 0x112) return short(at + 2) === 3 && short(at + 8) === 1;
  }
  return true;
}

function starts(content: Buffer, text: string): boolean {
  return content.toString('latin1', 0, text.length) === text;
}
