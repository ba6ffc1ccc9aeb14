import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { decode } from '../lib/image';
import { jpegHeader, plainJpeg } from '../lib/image/jpeg';

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

/** The test's own view of the head: where each segment begins. */
function segmentAt(bytes: Buffer, marker: number): number {
  for (let at = 2; bytes[at] === 0xff; at += 2 + bytes.readUInt16BE(at + 2)) if (bytes[at + 1] === marker) return at;
  throw new Error(`no segment 0x${marker.toString(16)}`);
}

/** The bytes with one of a segment's content changed. */
function changed(bytes: Buffer, marker: number, at: number, value: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[segmentAt(bytes, marker) + 4 + at] = value;
  return copy;
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

describe('a JPEG file for a GPU to decode', () => {
  const adobe = (transform: number) => Buffer.from([...Buffer.from('Adobe'), 0, 100, 0, 0, 0, 0, transform]);
  const exif = (orientation: number, { tag = 0x112, type = 3, entries = 1, directory = 8, order = 'II' } = {}) => {
    const tiff = Buffer.alloc(26);
    tiff.write(`${order}*\0`, 'latin1');
    tiff.writeUInt32LE(directory, 4);
    tiff.writeUInt16LE(entries, 8);
    tiff.writeUInt16LE(tag, 10);
    tiff.writeUInt16LE(type, 12);
    tiff.writeUInt32LE(1, 14);
    tiff.writeUInt16LE(orientation, 18);
    return Buffer.concat([Buffer.from('Exif\0\0'), tiff]);
  };
  const icc = (name: string) => {
    const profile = Buffer.alloc(144 + name.length);
    profile.writeUInt32BE(1, 128); // tags
    profile.write('desc', 132, 'latin1');
    profile.writeUInt32BE(144, 136);
    profile.writeUInt32BE(name.length, 140);
    profile.write(name, 144, 'latin1');
    return Buffer.concat([Buffer.from('ICC_PROFILE\0\x01\x01'), profile]);
  };
  const size = { width: 48, height: 31 };

  test.each([
    ['baseline', () => photo().jpeg().toBuffer()],
    ['of colours as often as brightness', () => photo().jpeg({ chromaSubsampling: '4:4:4' }).toBuffer()],
    ["with sRGB's profile", async () => withSegment(await photo().jpeg().toBuffer(), 0xe2, icc('sRGB IEC61966-2.1'))],
    ['with EXIF, upright', async () => withSegment(await photo().jpeg().toBuffer(), 0xe1, exif(1))],
    ['with EXIF that does not say', async () => withSegment(await photo().jpeg().toBuffer(), 0xe1, exif(6, { tag: 0x110 }))],
    ["with Adobe's YCbCr", async () => withSegment(await photo().jpeg().toBuffer(), 0xee, adobe(1))],
    ['with a comment', async () => withSegment(await photo().jpeg().toBuffer(), 0xfe, Buffer.alloc(40, 'a'))],
  ])('%s: yes', async (_, made) => expect(plainJpeg(await made())).toMatchObject(size));

  const plain = () => photo().jpeg().toBuffer();
  test.each([
    ['progressive', () => photo().jpeg({ progressive: true }).toBuffer()],
    ['grey', () => photo().toColourspace('b-w').jpeg().toBuffer()],
    ['of four colours', () => photo().toColourspace('cmyk').jpeg().toBuffer()],
    ['with another profile', async () => p3],
    ['with a profile of no name that is known', async () => withSegment(await plain(), 0xe2, icc('sRGB'))],
    ['turned', () => photo().withMetadata({ orientation: 6 }).jpeg().toBuffer()],
    ['turned, by short EXIF', async () => withSegment(await plain(), 0xe1, exif(3))],
    ['with EXIF of another type', async () => withSegment(await plain(), 0xe1, exif(1, { type: 4 }))],
    ['with EXIF that points outside', async () => withSegment(await plain(), 0xe1, exif(1, { directory: 0xfffffff0 }))],
    ['with EXIF of more entries than it has', async () => withSegment(await plain(), 0xe1, exif(1, { entries: 0xffff }))],
    ['with EXIF of no byte order', async () => withSegment(await plain(), 0xe1, exif(1, { order: 'XX' }))],
    ['with EXIF of nothing', async () => withSegment(await plain(), 0xe1, Buffer.from('Exif\0\0'))],
    ['with EXIF twice', async () => withSegment(withSegment(await plain(), 0xe1, exif(1)), 0xe1, exif(1))],
    ["with Adobe's RGB", async () => withSegment(await plain(), 0xee, adobe(0))],
    ["with Adobe's segment cut off", async () => withSegment(await plain(), 0xee, adobe(1).subarray(0, 11))],
    ['of colours named R, G, B', async () => changed(await plain(), 0xc0, 6, 0x52)],
    ['of 12 bits', async () => changed(await plain(), 0xc0, 0, 12)],
    ['with colours more often than brightness', async () => changed(await plain(), 0xc0, 10, 0x22)],
    ['with brightness four times as often', async () => changed(await plain(), 0xc0, 7, 0x41)],
    ['with a scan of one colour', async () => changed(await plain(), 0xda, 0, 1)],
    ['with a height that comes later', async () => withSegment(await plain(), 0xdc, Buffer.from([0, 31]))],
    ['with arithmetic coding', async () => withSegment(await plain(), 0xcc, Buffer.from([0, 0]))],
    ['with an unknown segment', async () => withSegment(await plain(), 0xf5, Buffer.alloc(3))],
    ['without its end', async () => (await plain()).subarray(0, -1)],
    ['cut off', async () => (await plain()).subarray(0, 700)],
    ['of nothing', async () => Buffer.alloc(0)],
    ['of a beginning and an end', async () => Buffer.from([0xff, 0xd8, 0xff, 0xd9])],
  ])('%s: left to the processor', async (_, made) => expect(plainJpeg(await made())).toBeUndefined());

  test('is handed on as it is, and the processor decodes it where the GPU refuses', async () => {
    const bytes = await photo().jpeg().toBuffer();
    const kept = await decode(bytes, 'image', { keepJpeg: true });
    expect(kept).toMatchObject({ ...size, channels: 3 });
    expect(Buffer.from(kept.data).equals(bytes)).toBe(true);
    const pixels = await kept.jpeg!();
    expect(pixels.jpeg).toBeUndefined();
    expect(pixels).toEqual(await decode(bytes));
    await expect(decode(bytes, 'image', { keepJpeg: true, maxPixels: 100 })).rejects.toMatchObject({ code: 'ERR_IMAGE_TOO_LARGE' });
    expect((await decode(p3, 'image', { keepJpeg: true })).jpeg).toBeUndefined();
  });
});

test('a profile in a JPEG file is converted to sRGB', async () => {
  const bytes = await sharp({ create: { width: 8, height: 8, channels: 3, background: '#c86432' } }).withIccProfile('p3').jpeg({ quality: 100 }).toBuffer();
  const { data } = await decode(bytes);
  [200, 100, 50].forEach((value, channel) => expect(Math.abs(data[channel]! - value)).toBeLessThan(5));
  expect((await sharp(bytes, { ignoreIcc: true }).raw().toBuffer())[0]).toBeLessThan(195);
});
