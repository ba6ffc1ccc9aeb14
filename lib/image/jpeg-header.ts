/** What the head of a JPEG file says of its picture, before it is turned upright. */
export interface JpegHeader {
  width: number;
  height: number;
  /** Its colour profile. */
  icc?: Buffer | undefined;
}

const START_OF_SCAN = 0xda;
const APP2 = 0xe2;
const ICC = 'ICC_PROFILE'; // a zero follows, and which part of how many it is

/**
 * Reads the segments in front of a JPEG file's data, as ITU-T T.81, B.1 and B.2 lay them out, for its size (B.2.2) and its colour
 * profile (ICC.1:2022, B.4). sharp's `metadata()` answers the same for every format, but takes as long as decoding a twentieth of a
 * photo, and what it makes for each lets the heap of a process that looks at many photos grow by tens of megabytes.
 * @returns undefined for what is no JPEG file, and for one with anything unusual
 */
export function jpegHeader(bytes: Buffer): JpegHeader | undefined {
  if (bytes.length < 4 || bytes.readUInt16BE(0) !== 0xffd8) return undefined;
  let size: { width: number; height: number } | undefined;
  let icc: Buffer | undefined;
  for (let at = 2; at + 4 <= bytes.length; ) {
    const marker = bytes[at + 1]!;
    const end = at + 2 + bytes.readUInt16BE(at + 2);
    // Markers without a length have nothing to do here; 0xff may be repeated in front of any.
    const bare = marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd9) || marker === 0xff;
    if (bytes[at] !== 0xff || bare || end < at + 4 || end > bytes.length) return undefined;
    if (marker === START_OF_SCAN) return size && { ...size, icc };
    const content = bytes.subarray(at + 4, end);
    if (isFrame(marker)) {
      if (size !== undefined || content.length < 6) return undefined;
      size = { height: content.readUInt16BE(1), width: content.readUInt16BE(3) };
      if (size.width === 0 || size.height === 0) return undefined;
    } else if (marker === APP2 && content.toString('latin1', 0, ICC.length) === ICC) {
      if (icc !== undefined || content[12] !== 1 || content[13] !== 1) return undefined;
      icc = content.subarray(14);
    }
    at = end;
  }
  return undefined;
}

/** SOF0 to SOF15; three of those numbers mean something else. */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}
