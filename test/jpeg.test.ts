import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { decode } from '../lib/image';
import { jpegHeader } from '../lib/image/jpeg';

const photo = () =>
  sharp({ create: { width: 48, height: 31, channels: 3, background: '#c86432', noise: { type: 'gaussian', mean: 128, sigma: 40 } } });
const p3 = await photo().withIccProfile('p3').jpeg().toBuffer();

/** What sharp says of the same, as far as it is asked for. */
async function sharpsHeader(bytes: Buffer) {
  const { width, height, icc } = await sharp(bytes, { limitInputPixels: false }).metadata();
  return { width, height, icc };
}

/** A segment behind the first two bytes. */
function withSegment(bytes: Buffer, marker: number, content: Buffer): Buffer {
  const head = Buffer.from([0xff, marker, (content.length + 2) >> 8, (content.length + 2) & 255]);
  return Buffer.concat([bytes.subarray(0, 2), head, content, bytes.subarray(2)]);
}

describe('the header of a JPEG file', () => {
  test.each([
    ['baseline', () => photo().jpeg().toBuffer()],
    ['progressive', () => photo().jpeg({ progressive: true }).toBuffer()],
    ['grey', () => photo().greyscale().jpeg().toBuffer()],
    ['with a profile', async () => p3],
    ['with EXIF, to be turned', () => photo().withMetadata({ orientation: 6 }).jpeg().toBuffer()],
    ['with a comment', async () => withSegment(p3, 0xfe, Buffer.alloc(40, 'a'))],
    ['with another APP2', async () => withSegment(p3, 0xe2, Buffer.from('MPF\0 and more'))],
  ])('%s: as sharp reads it', async (_, made) => {
    const bytes = await made();
    expect(jpegHeader(bytes)).toEqual(await sharpsHeader(bytes));
  });

  test('a large profile in several parts is left to sharp', async () => {
    const bytes = await photo().withIccProfile('cmyk').toColourspace('cmyk').jpeg().toBuffer();
    expect((await sharpsHeader(bytes)).icc!.length).toBeGreaterThan(2 ** 16);
    expect(jpegHeader(bytes)).toBeUndefined();
  });

  test.each(['png', 'webp', 'gif', 'tiff'] as const)('a %s file has none', async (format) => {
    expect(jpegHeader(await photo().toFormat(format).toBuffer())).toBeUndefined();
  });

  test('of a file that ends before its data there is none', () => {
    const scan = p3.indexOf(Buffer.from([0xff, 0xda]));
    const length = p3.readUInt16BE(scan + 2);
    for (let end = 0; end < scan + 2 + length; end++) expect(jpegHeader(p3.subarray(0, end)), `${end} bytes`).toBeUndefined();
    expect(jpegHeader(p3.subarray(0, scan + 2 + length))).toBeDefined();
  });

  test('with any byte of it changed: as sharp reads it, or left to sharp', async () => {
    const scan = p3.indexOf(Buffer.from([0xff, 0xda]));
    const bytes = Buffer.from(p3);
    let read = 0;
    for (let at = 0; at < scan + 10; at++) {
      // The profile's own bytes are handed on as they are; a few of them do.
      if (at > 250 && at < scan - 200 && at % 16 !== 0) continue;
      for (const value of [0, 1, 0xc0, 0xd0, 0xff, p3[at]! ^ 1]) {
        bytes[at] = value;
        const header = jpegHeader(bytes);
        // What sharp refuses it refuses later as well.
        if (header) expect(header, `byte ${at} is ${value}`).toEqual(await sharpsHeader(bytes).catch(() => header));
        if (header) read++;
      }
      bytes[at] = p3[at]!;
    }
    expect(read).toBeGreaterThan(100);
  });

  test('two sizes in one file are left to sharp, which refuses it', async () => {
    const frame = p3.indexOf(Buffer.from([0xff, 0xc0]));
    const twice = withSegment(p3, 0xc0, p3.subarray(frame + 4, frame + 2 + p3.readUInt16BE(frame + 2)));
    expect(jpegHeader(twice)).toBeUndefined();
    await expect(decode(twice)).rejects.toMatchObject({ code: 'ERR_IMAGE_DECODE' });
  });
});

test('a profile in a JPEG file is converted to sRGB', async () => {
  const bytes = await sharp({ create: { width: 8, height: 8, channels: 3, background: '#c86432' } }).withIccProfile('p3').jpeg({ quality: 100 }).toBuffer();
  const { data } = await decode(bytes);
  [200, 100, 50].forEach((value, channel) => expect(Math.abs(data[channel]! - value)).toBeLessThan(5));
  expect((await sharp(bytes, { ignoreIcc: true }).raw().toBuffer())[0]).toBeLessThan(195);
});
