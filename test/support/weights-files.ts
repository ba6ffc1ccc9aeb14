import { closeSync, openSync, writeSync } from 'node:fs';
import { maskedCrc32c } from '../../dist/models/crc32c';

/** Writers of the formats that weights come in, from these formats' descriptions. */
export interface Numbers {
  name: string;
  shape: readonly number[];
  data: Uint8Array;
}

export function writeParts(path: string, parts: Iterable<Uint8Array>): void {
  const file = openSync(path, 'w');
  for (const part of parts) writeSync(file, part);
  closeSync(file);
}

const text = (value: string) => Buffer.from(value, 'latin1');
const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

/** `numpy.save` of a dictionary, as Python 2 (bytes as str) or 3 (as bytes) pickles it. `of` gives an array's dtype and data order. */
export function* npy(
  tensors: Iterable<Numbers>,
  python: 2 | 3 = 3,
  dtype = 'f4',
  fortran = false,
  module = 'numpy.core.multiarray',
): Generator<Buffer> {
  const head = "{'descr': '|O', 'fortran_order': False, 'shape': (), }".padEnd(117) + '\n';
  yield text(`\x93NUMPY\x01\x00${String.fromCharCode(head.length & 255, head.length >> 8)}${head}`);
  const string = (value: string) =>
    Buffer.concat(python === 2 ? [text('U'), Buffer.of(value.length), text(value)] : [text('X'), u32(value.length), text(value)]);
  const bytes = (length: number) => Buffer.concat([text(python === 2 ? 'T' : 'B'), u32(length)]);
  const integer = (value: number) => Buffer.concat([text('J'), u32(value >>> 0)]);
  const dtypeOf = (code: string, order: string) => {
    const state = [text('(K\x03'), string(order), text('NNN'), integer(-1), integer(-1), text('K\x00tb')];
    return Buffer.concat([text('cnumpy\ndtype\n'), string(code), text('K\x00K\x01\x87R'), ...state]);
  };
  const made = text(`c${module}\n_reconstruct\ncnumpy\nndarray\nK\x00\x85`);
  const array = Buffer.concat([made, python === 2 ? string('b') : text('C\x01b'), text('\x87R')]);

  yield text(`\x80${String.fromCharCode(python)}`);
  yield Buffer.concat([array, text('(K\x01)'), dtypeOf('O8', '|'), text('\x89]}(')]);
  let layer: string | undefined;
  for (const { name, shape, data } of tensors) {
    const [next, parameter] = name.split('/') as [string, string];
    if (next !== layer) yield Buffer.concat([text(layer === undefined ? '' : 'u'), string(next), text('}(')]);
    layer = next;
    const state = [text('(K\x01('), ...shape.map(integer), text('t'), dtypeOf(dtype, '<'), text(fortran ? '\x88' : '\x89')];
    yield Buffer.concat([string(parameter), array, ...state, bytes(data.length)]);
    yield Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    yield text('tb');
  }
  yield text(layer === undefined ? 'uatb.' : 'uuatb.');
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return Buffer.of(...bytes, value);
}

/** Protocol buffers' fields: a number as a varint, bytes with their length. */
export const field = (number: number, value: number | Uint8Array | string): Buffer =>
  typeof value === 'number'
    ? Buffer.concat([varint(number * 8), varint(value)])
    : Buffer.concat([varint(number * 8 + 2), varint(Buffer.byteLength(value)), Buffer.from(value as string)]);
const fixed32 = (number: number, bytes: Buffer) => Buffer.concat([varint(number * 8 + 5), bytes]);
const float = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
};

/** A TensorFlow checkpoint: `<prefix>.index`, a LevelDB table of several blocks, and one data file. */
export function writeCheckpoint(prefix: string, tensors: Iterable<Numbers>): void {
  const entries: [string, Buffer][] = [];
  let offset = 0;
  const data = openSync(`${prefix}.data-00000-of-00001`, 'w');
  for (const { name, shape, data: bytes } of tensors) {
    const shapeProto = Buffer.concat(shape.map((extent) => field(2, field(1, extent))));
    const place = offset === 0 ? [] : [field(4, offset)]; // proto3 leaves a 0 out
    entries.push([name, Buffer.concat([field(1, 1), field(2, shapeProto), ...place, field(5, bytes.length), fixed32(6, u32(maskedCrc32c(bytes)))])]);
    writeSync(data, bytes);
    offset += bytes.length;
  }
  closeSync(data);
  entries.push(['', Buffer.concat([field(1, 1), field(3, field(1, 1))])]);
  entries.sort(([a], [b]) => Buffer.compare(text(a), text(b)));

  const parts: Buffer[] = [];
  let at = 0;
  const block = (content: [string, Buffer][]): Buffer => {
    let last = '';
    const restarts: number[] = [];
    const lines: Buffer[] = [];
    let size = 0;
    for (const [i, [key, value]] of content.entries()) {
      let shared = 0;
      if (i % 16 === 0) restarts.push(size);
      else while (shared < key.length && key[shared] === last[shared]) shared++;
      const line = Buffer.concat([varint(shared), varint(key.length - shared), varint(value.length), text(key.slice(shared)), value]);
      lines.push(line);
      size += line.length;
      last = key;
    }
    if (restarts.length === 0) restarts.push(0);
    const body = Buffer.concat([...lines, ...restarts.map(u32), u32(restarts.length)]);
    const whole = Buffer.concat([body, Buffer.of(0)]);
    parts.push(whole, u32(maskedCrc32c(whole)));
    const handle = Buffer.concat([varint(at), varint(body.length)]);
    at += whole.length + 4;
    return handle;
  };
  const pointers: [string, Buffer][] = [];
  for (let i = 0; i < entries.length; i += 50) {
    const some = entries.slice(i, i + 50);
    pointers.push([some.at(-1)![0], block(some)]);
  }
  const meta = block([]);
  const index = block(pointers);
  const magic = Buffer.alloc(8);
  magic.writeBigUInt64LE(0xdb4775248b80fb57n);
  writeParts(`${prefix}.index`, [...parts, Buffer.concat([meta, index]), Buffer.alloc(40 - meta.length - index.length), magic]);
}

export interface CoreMlLayer {
  name: string;
  kind: 'convolution' | 'batchnorm' | 'scale' | 'bias' | 'other';
  /** Of a kernel: out, in, height, width. Of the next three: channels. */
  shape: readonly number[];
  /** weights and bias; gamma, beta, mean and variance; scale; bias. */
  numbers: Record<string, Uint8Array>;
  /** Names of what it reads and what it gives. */
  from?: readonly string[];
  to?: string;
}

export interface CoreMlOptions {
  epsilon?: number;
  half?: boolean;
  bgr?: boolean;
  bias?: number;
}

/** A Core ML model of these layers. */
export function* coreMl(layers: readonly CoreMlLayer[], options: CoreMlOptions = {}): Generator<Buffer> {
  const { epsilon = 1e-4, half = false, bgr = false, bias = 0 } = options;
  const weights = (bytes: Uint8Array) => field(half ? 2 : 1, bytes);
  const params = ({ kind, shape, numbers }: CoreMlLayer): Buffer => {
    switch (kind) {
      case 'convolution':
        return Buffer.concat([
          field(1, shape[0]!),
          field(2, shape[1]!),
          field(10, 1),
          field(20, Buffer.concat([varint(shape[2]!), varint(shape[3]!)])),
          field(70, numbers.bias ? 1 : 0),
          field(90, weights(numbers.weights!)),
          ...(numbers.bias ? [field(91, weights(numbers.bias))] : []),
        ]);
      case 'batchnorm':
        return Buffer.concat([
          field(1, shape[0]!),
          fixed32(10, float(epsilon)),
          field(15, weights(numbers.gamma!)),
          field(16, weights(numbers.beta!)),
          field(17, weights(numbers.mean!)),
          field(18, weights(numbers.variance!)),
        ]);
      case 'scale':
        return Buffer.concat([field(1, shape[0]!), field(2, weights(numbers.scale!))]);
      case 'bias':
        return Buffer.concat([field(1, shape[0]!), field(2, weights(numbers.bias!))]);
      case 'other':
        return Buffer.alloc(0);
    }
  };
  const numberOf = { convolution: 100, batchnorm: 160, scale: 245, bias: 250, other: 130 };
  const message = (layer: CoreMlLayer): Buffer => {
    const { name, kind, from = ['from'], to = 'to' } = layer;
    return field(1, Buffer.concat([field(1, name), ...from.map((blob) => field(2, blob)), field(3, to), field(numberOf[kind], params(layer))]));
  };
  const scaler = field(2, Buffer.concat([field(1, 'image'), field(10, Buffer.concat([fixed32(10, float(1)), fixed32(22, float(bias))]))]));
  const image = Buffer.concat([field(1, 304), field(2, 228), field(3, bgr ? 30 : 20)]);
  const description = field(1, Buffer.concat([field(1, 'image'), field(3, field(4, image))]));
  const made = layers.map(message);
  const size = made.reduce((sum, { length }) => sum + length, scaler.length);
  yield Buffer.concat([field(1, 1), field(2, description), varint(500 * 8 + 2), varint(size)]);
  yield* made;
  yield scaler;
}
