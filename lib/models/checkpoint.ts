import * as fs from 'node:fs/promises';
import { FaissVisionError } from '../error';
import { maskedCrc32c } from './crc32c';
import { isMissing } from './files';
import { bytesField, fields, numberField, take, varint } from './protobuf';
import type { SourceTensors } from './source';
import { ELEMENT_SIZE, type ElementType, elementCount } from './tensor';

/** The last eight bytes of a LevelDB table, little endian. */
const TABLE_MAGIC = 0xdb4775248b80fb57n;
const FOOTER_BYTES = 48;

/** `DataType` of tensorflow/core/framework/types.proto. */
const DATA_TYPES: Record<number, ElementType> = { 1: 'F32', 2: 'F64', 3: 'I32', 9: 'I64', 14: 'BF16', 19: 'F16' };

function isTable(bytes: Buffer): boolean {
  return bytes.length >= FOOTER_BYTES && bytes.readBigUInt64LE(bytes.length - 8) === TABLE_MAGIC;
}

/**
 * Opens a TensorFlow checkpoint of version 2 (tensorflow/core/util/tensor_bundle): an index, which is a LevelDB table from
 * names to messages BundleEntryProto, and files of data, of which each tensor is read, and its checksum compared, when it
 * is asked for.
 *
 * @param index path of the file that ends in `.index`
 * @throws ERR_WEIGHTS_CORRUPT where a file is missing, cut short or damaged; ERR_WEIGHTS_FORMAT for what this reader does not know
 */
export async function openCheckpoint(index: string): Promise<SourceTensors> {
  const prefix = index.slice(0, -'.index'.length);
  const corrupt = (what: string, cause?: unknown) => new FaissVisionError('ERR_WEIGHTS_CORRUPT', `${index}: ${what}`, { cause });
  const format = (what: string) => new FaissVisionError('ERR_WEIGHTS_FORMAT', `${index}: ${what}`);

  const bytes = await fs.readFile(index);
  const tensors: SourceTensors = new Map();
  const sizes = new Map<string, number>();
  let shards = 1;
  try {
    for (const [key, value] of tableEntries(bytes)) {
      if (key === '') {
        shards = numberField(value, 1) ?? 0;
        if (numberField(value, 2)) throw format('a checkpoint of a big-endian machine');
        continue;
      }
      const dtype = DATA_TYPES[numberField(value, 1) ?? 0];
      if (!dtype) continue; // a string or the like: no weight
      if (bytesField(value, 7)) throw format(`${key} is stored in slices, which no single machine's checkpoint has`);
      const shape = [...fields(bytesField(value, 2) ?? Buffer.alloc(0))].flatMap(({ number, value: dimension }) =>
        number === 2 && typeof dimension !== 'number' ? [numberField(dimension, 1) ?? 0] : [],
      );
      const shard = numberField(value, 3) ?? 0;
      const offset = numberField(value, 4) ?? 0;
      const size = numberField(value, 5) ?? 0;
      const checksum = bytesField(value, 6)?.readUInt32LE();
      if (size !== elementCount(shape) * ELEMENT_SIZE[dtype]) throw corrupt(`${key} of shape [${shape.join(', ')}] cannot have ${size} bytes`);
      const file = `${prefix}.data-${String(shard).padStart(5, '0')}-of-${String(shards).padStart(5, '0')}`;
      const available = sizes.get(file) ?? (await sizeOf(file));
      sizes.set(file, available);
      if (offset + size > available) throw corrupt(`${key} lies at bytes ${offset} to ${offset + size} of ${file}, which has ${available}`);
      tensors.set(key, {
        dtype,
        shape,
        data: async () => {
          const data = await readAt(file, offset, size);
          if (checksum !== undefined && maskedCrc32c(data) !== checksum) throw corrupt(`${key} does not match its checksum`);
          return data;
        },
      });
    }
  } catch (error) {
    if (error instanceof RangeError) throw corrupt('cut short or damaged', error);
    throw error;
  }
  return tensors;

  async function sizeOf(file: string): Promise<number> {
    try {
      return (await fs.stat(file)).size;
    } catch (error) {
      if (isMissing(error)) throw corrupt(`its data file ${file} is missing`, error);
      throw error;
    }
  }

  async function readAt(file: string, offset: number, size: number): Promise<Buffer> {
    const data = Buffer.alloc(size);
    const handle = await fs.open(file);
    try {
      for (let done = 0; done < size; ) {
        const { bytesRead } = await handle.read(data, done, size - done, offset + done);
        if (bytesRead === 0) throw corrupt(`${file} became shorter`);
        done += bytesRead;
      }
    } finally {
      await handle.close();
    }
    return data;
  }

  /** LevelDB's doc/table_format.md: the footer points at a block of pointers to blocks of entries. */
  function* tableEntries(table: Buffer): Generator<[string, Buffer]> {
    if (!isTable(table)) throw corrupt('not the index of a checkpoint: its last bytes are not those of a table');
    const footer = { offset: table.length - FOOTER_BYTES };
    varint(table, footer); // the block of meta data: offset and size
    varint(table, footer);
    const blocks = blockEntries(block(table, footer));
    for (const [, pointer] of blocks) {
      for (const [key, value] of blockEntries(block(table, { offset: 0 }, pointer))) yield [key.toString('utf8'), value];
    }
  }

  /** The block that a pointer (offset, size) names, its checksum compared. */
  function block(table: Buffer, at: { offset: number }, pointer = table): Buffer {
    const offset = varint(pointer, at);
    const size = varint(pointer, at);
    const content = take(table, { offset }, size);
    const [compression] = take(table, { offset: offset + size }, 1);
    if (maskedCrc32c(table.subarray(offset, offset + size + 1)) !== table.readUInt32LE(offset + size + 1)) {
      throw corrupt(`the block at byte ${offset} does not match its checksum`);
    }
    if (compression !== 0) throw format('a compressed index, which TensorFlow does not write');
    return content;
  }

  /** Each key is written as how much of the last one it shares and the rest. */
  function* blockEntries(content: Buffer): Generator<[Buffer, Buffer]> {
    const end = content.length - 4 * (content.readUInt32LE(content.length - 4) + 1);
    let key: Buffer = Buffer.alloc(0);
    for (const at = { offset: 0 }; at.offset < end; ) {
      const shared = varint(content, at);
      const own = varint(content, at);
      const length = varint(content, at);
      key = Buffer.concat([take(key, { offset: 0 }, shared), take(content, at, own)]);
      yield [key, take(content, at, length)];
    }
  }
}
