import { isSrgb } from './icc';

/** What the head of a JPEG file says of its picture, before it is turned upright. */
export interface JpegHeader {
  width: number;
  height: number;
  /** Its colour profile. */
  icc?: Buffer | undefined;
}

const START_OF_SCAN = 0xda;
const APP1 = 0xe1;
const APP2 = 0xe2;
const APP14 = 0xee;
const END_OF_IMAGE = 0xffd9;
/** Tables, how often the decoder may start anew, and comments. */
const PLAIN: ReadonlySet<number> = new Set([0xc4, 0xdb, 0xdd, 0xfe]);
const ICC = 'ICC_PROFILE'; // a zero follows, and which part of how many it is

interface Segment {
  marker: number;
  content: Buffer;
}

/**
 * The segments in front of a JPEG file's data and the scan's own, which comes last, as ITU-T T.81, B.1 and B.2 lay them out; undefined
 * for what is no JPEG file, is cut off before its data, or has anything else between them.
 */
function segments(bytes: Buffer): Segment[] | undefined {
  if (bytes.length < 4 || bytes.readUInt16BE(0) !== 0xffd8) return undefined;
  const found: Segment[] = [];
  for (let at = 2; at + 4 <= bytes.length; ) {
    const marker = bytes[at + 1]!;
    const end = at + 2 + bytes.readUInt16BE(at + 2);
    // Markers without a length have nothing to do here; 0xff may be repeated in front of any.
    const bare = marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd9) || marker === 0xff;
    if (bytes[at] !== 0xff || bare || end < at + 4 || end > bytes.length) return undefined;
    found.push({ marker, content: bytes.subarray(at + 4, end) });
    if (marker === START_OF_SCAN) return found;
    at = end;
  }
  return undefined;
}

/**
 * Reads the segments in front of a JPEG file's data for its size (ITU-T T.81, B.2.2) and its colour profile (ICC.1:2022, B.4). sharp's
 * `metadata()` answers the same for every format, but takes as long as decoding a twentieth of a photo, and what it makes for each lets
 * the heap of a process that looks at many photos grow by tens of megabytes.
 * @returns undefined for what is no JPEG file, and for one with anything unusual
 */
export function jpegHeader(bytes: Buffer): JpegHeader | undefined {
  return headerIn(segments(bytes) ?? []);
}

function headerIn(all: readonly Segment[]): JpegHeader | undefined {
  let size: { width: number; height: number } | undefined;
  let icc: Buffer | undefined;
  for (const { marker, content } of all) {
    if (isFrame(marker)) {
      if (size !== undefined || content.length < 6) return undefined;
      size = { height: content.readUInt16BE(1), width: content.readUInt16BE(3) };
      if (size.width === 0 || size.height === 0) return undefined;
    } else if (marker === APP2 && starts(content, ICC)) {
      if (icc !== undefined || content[12] !== 1 || content[13] !== 1) return undefined;
      icc = content.subarray(14);
    }
  }
  // Not `{ ...size, icc }`, which gives each such object a hidden class of its own.
  return size && { width: size.width, height: size.height, icc };
}

/**
 * The header of a JPEG file that a GPU's decoder takes and that needs nothing but decoding; undefined for every other, of which sharp
 * knows more: baseline, in one scan, of three colours as JFIF has them, upright, without a colour profile or with sRGB's, and not cut off.
 * Nothing of it is trusted: what is decoded is checked once more where it is decoded.
 */
export function plainJpeg(bytes: Buffer): JpegHeader | undefined {
  const all = segments(bytes) ?? [];
  const header = headerIn(all);
  if (header === undefined || bytes.readUInt16BE(bytes.length - 2) !== END_OF_IMAGE) return undefined;
  if (header.icc !== undefined && !isSrgb(header.icc)) return undefined;
  return all.every(isPlain) && all.filter(isExif).length <= 1 ? header : undefined;
}

function isPlain(segment: Segment): boolean {
  const { marker, content } = segment;
  if (marker === START_OF_SCAN) return content[0] === 3; // all colours
  if (isFrame(marker)) return (marker === 0xc0 || marker === 0xc1) && hasPlainColours(content);
  if (isExif(segment)) return isUpright(content.subarray(6));
  if (marker === APP14 && starts(content, 'Adobe')) return content[11] === 1; // else colours as they are, or inverted
  return PLAIN.has(marker) || (marker >= 0xe0 && marker <= 0xef); // else arithmetic, hierarchical, or a height that comes after the scan
}

/** SOF0 to SOF15; three of those numbers mean something else. */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

/** Of a frame of 8 bits: three colours whose first is brightness, the others as often or half as often. */
function hasPlainColours(frame: Buffer): boolean {
  if (frame.length !== 15 || frame[0] !== 8 || frame[5] !== 3) return false;
  const [id, sampling, , , second, , , third] = frame.subarray(6);
  if (id === 0x52) return false; // 'R', as in RGB
  return [0x11, 0x12, 0x21, 0x22].includes(sampling!) && second === 0x11 && third === 0x11;
}

function isExif({ marker, content }: Segment): boolean {
  return marker === APP1 && starts(content, 'Exif\0\0');
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
