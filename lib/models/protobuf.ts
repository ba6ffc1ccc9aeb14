/** A field of a protocol buffers message: a number for varints, bytes for everything else (fixed64, length-delimited, fixed32). */
export interface Field {
  number: number;
  value: number | Buffer;
}

/**
 * The fields of a message in their order (Protocol Buffers, "Encoding"). Bytes are views. Groups, which no format read here
 * has, and whatever points outside the message are a RangeError, as Buffer's own bounds checks are.
 */
export function* fields(message: Buffer): Generator<Field> {
  const at = { offset: 0 };
  while (at.offset < message.length) {
    const tag = varint(message, at);
    const number = Math.floor(tag / 8);
    switch (tag & 7) {
      case 0:
        yield { number, value: varint(message, at) };
        break;
      case 1:
        yield { number, value: take(message, at, 8) };
        break;
      case 2:
        yield { number, value: take(message, at, varint(message, at)) };
        break;
      case 5:
        yield { number, value: take(message, at, 4) };
        break;
      default:
        throw new RangeError(`a field of wire type ${tag & 7}`);
    }
  }
}

/** Base 128, lowest first; at most 2^53, which no size or offset reaches. */
export function varint(bytes: Buffer, at: { offset: number }): number {
  let value = 0;
  for (let scale = 1; scale < 2 ** 70; scale *= 128) {
    const byte = bytes.readUInt8(at.offset++);
    value += (byte & 127) * scale;
    if (byte < 128) return value;
  }
  throw new RangeError('a number of more than ten bytes');
}

export function take(bytes: Buffer, at: { offset: number }, length: number): Buffer {
  if (!(length <= bytes.length - at.offset)) throw new RangeError('beyond the end');
  at.offset += length;
  return bytes.subarray(at.offset - length, at.offset);
}

/** The last value of a field, as the format wants it; undefined where the message has none. */
export function numberField(message: Buffer, number: number): number | undefined {
  let found: number | undefined;
  for (const field of fields(message)) if (field.number === number && typeof field.value === 'number') found = field.value;
  return found;
}

export function bytesField(message: Buffer, number: number): Buffer | undefined {
  let found: Buffer | undefined;
  for (const field of fields(message)) if (field.number === number && typeof field.value !== 'number') found = field.value;
  return found;
}

/** All numbers of a repeated field, packed or not. */
export function numberFields(message: Buffer, number: number): number[] {
  const numbers: number[] = [];
  for (const { number: each, value } of fields(message)) {
    if (each !== number) continue;
    if (typeof value === 'number') numbers.push(value);
    else for (const at = { offset: 0 }; at.offset < value.length; ) numbers.push(varint(value, at));
  }
  return numbers;
}
