import { crc32, inflateRawSync } from 'node:zlib';
import { FaissVisionError } from '../error';

const END_OF_DIRECTORY = 0x06054b50;
const ZIP64_LOCATOR = 0x07064b50;
const ZIP64_END_OF_DIRECTORY = 0x06064b50;
const DIRECTORY_ENTRY = 0x02014b50;
const LOCAL_ENTRY = 0x04034b50;
const IN_ZIP64 = 0xffffffff;

/** Weights and programs deflate to half; what claims to have been far longer would fill the memory. */
const MOST_INFLATION = 32;
const SMALL = 2 ** 24;

interface Entry {
  method: number;
  crc: number;
  packedSize: number;
  size: number;
  localOffset: number;
}

/**
 * A zip archive in memory (PKWARE APPNOTE 6.3), for wheels and for PyTorch's files: stored and deflated entries, zip64.
 * No encryption, no archives in several parts.
 */
export class Zip {
  readonly #bytes: Buffer;
  readonly #name: string;
  readonly #entries = new Map<string, Entry>();

  /**
   * @param name names the archive in errors
   * @throws ERR_ARCHIVE_CORRUPT where the directory at the archive's end is missing or wrong
   */
  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#name = name;
    const { offset, count } = this.#guarded(() => this.#findDirectory());
    this.#guarded(() => this.#readDirectory(offset, count));
  }

  /** Whether the bytes begin as a zip archive does. */
  static matches(bytes: Uint8Array): boolean {
    return bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 0x03 && bytes[3] === 0x04;
  }

  get names(): string[] {
    return [...this.#entries.keys()];
  }

  has(entry: string): boolean {
    return this.#entries.has(entry);
  }

  /** Content of an entry, its CRC-32 checked; a view of the archive where the entry is stored as it is. */
  read(entry: string): Buffer {
    const { method, crc, packedSize, size, localOffset } = this.#entries.get(entry) ?? this.#fail(`has no entry ${entry}`);
    const packed = this.#guarded(() => {
      if (this.#bytes.readUInt32LE(localOffset) !== LOCAL_ENTRY) this.#fail(`entry ${entry} is not where the directory says`);
      // The local header's extra field may differ from the directory's, so only its lengths are taken from it.
      const begin = localOffset + 30 + this.#bytes.readUInt16LE(localOffset + 26) + this.#bytes.readUInt16LE(localOffset + 28);
      if (begin + packedSize > this.#bytes.length) this.#fail(`entry ${entry} is cut short`);
      return this.#bytes.subarray(begin, begin + packedSize);
    });
    let content: Buffer;
    if (method === 0) content = packed;
    else if (method === 8) content = this.#inflate(packed, size, entry);
    else this.#fail(`entry ${entry} is packed with method ${method}, expected 0 (stored) or 8 (deflated)`);
    if (content.length !== size) this.#fail(`entry ${entry} has ${content.length} bytes, expected ${size}`);
    if (crc32(content) !== crc) this.#fail(`entry ${entry} does not match its CRC-32`);
    return content;
  }

  #inflate(packed: Buffer, size: number, entry: string): Buffer {
    if (size > SMALL && size > MOST_INFLATION * packed.length) this.#fail(`entry ${entry} claims ${size} bytes out of ${packed.length}`);
    try {
      // The limit keeps a small hostile entry from filling the memory.
      return inflateRawSync(packed, { maxOutputLength: Math.max(size, 1) });
    } catch (cause) {
      this.#fail(`entry ${entry} cannot be inflated`, cause);
    }
  }

  #findDirectory(): { offset: number; count: number } {
    const bytes = this.#bytes;
    // The end record has 22 bytes and a comment of at most 65,535.
    for (let at = bytes.length - 22; at >= Math.max(0, bytes.length - 22 - 0xffff); at--) {
      if (bytes.readUInt32LE(at) !== END_OF_DIRECTORY) continue;
      if (at >= 20 && bytes.readUInt32LE(at - 20) === ZIP64_LOCATOR) {
        const end = Number(bytes.readBigUInt64LE(at - 12));
        if (bytes.readUInt32LE(end) !== ZIP64_END_OF_DIRECTORY) this.#fail('its zip64 directory is not where it says');
        return { offset: Number(bytes.readBigUInt64LE(end + 48)), count: Number(bytes.readBigUInt64LE(end + 32)) };
      }
      return { offset: bytes.readUInt32LE(at + 16), count: bytes.readUInt16LE(at + 10) };
    }
    return this.#fail('its directory is missing: the file is cut short or no zip archive');
  }

  #readDirectory(offset: number, count: number): void {
    const bytes = this.#bytes;
    let at = offset;
    for (let i = 0; i < count; i++) {
      if (bytes.readUInt32LE(at) !== DIRECTORY_ENTRY) this.#fail(`entry ${i} of its directory is damaged`);
      const nameEnd = at + 46 + bytes.readUInt16LE(at + 28);
      const extraEnd = nameEnd + bytes.readUInt16LE(at + 30);
      if (extraEnd > bytes.length) this.#fail('its directory is cut short');
      const sizes = this.#zip64Sizes(bytes.subarray(nameEnd, extraEnd), [
        bytes.readUInt32LE(at + 24),
        bytes.readUInt32LE(at + 20),
        bytes.readUInt32LE(at + 42),
      ]);
      const [size, packedSize, localOffset] = sizes as [number, number, number];
      const entry = { method: bytes.readUInt16LE(at + 10), crc: bytes.readUInt32LE(at + 16), packedSize, size, localOffset };
      this.#entries.set(bytes.toString('utf8', at + 46, nameEnd), entry);
      at = extraEnd + bytes.readUInt16LE(at + 32);
    }
  }

  /** Replaces the values that do not fit in 32 bits by those of the zip64 extra field, where they stand in this order. */
  #zip64Sizes(extra: Buffer, values: number[]): number[] {
    if (!values.includes(IN_ZIP64)) return values;
    let at = 0;
    while (extra.readUInt16LE(at) !== 1) at += 4 + extra.readUInt16LE(at + 2);
    at += 4;
    return values.map((value) => {
      if (value !== IN_ZIP64) return value;
      at += 8;
      return Number(extra.readBigUInt64LE(at - 8));
    });
  }

  #guarded<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      // Buffer's own bounds check is the one that a damaged length meets.
      if (error instanceof RangeError) this.#fail('it is cut short or points outside of itself', error);
      throw error;
    }
  }

  #fail(what: string, cause?: unknown): never {
    throw new FaissVisionError('ERR_ARCHIVE_CORRUPT', `zip archive ${this.#name}: ${what}`, { cause });
  }
}
