import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeSafetensors, encodeSafetensors, writeSafetensors } from '../lib/models/safetensors';
import { ELEMENT_SIZE, type ElementType, type Tensor, elementCount } from '../lib/models/tensor';
import { readTfjsWeights } from '../lib/models/tfjs-weights';
import { openTorchFile, readTorchFile } from '../lib/models/torch-file';
import { Zip } from '../lib/models/zip';

const fixtures = join(__dirname, 'fixtures', 'models');
let folder: string;
let marker: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'weights-'));
  marker = join(folder, 'executed');
  execFileSync('python3', [join(fixtures, 'torch_files.py'), folder, marker]);
});
afterAll(() => rmSync(folder, { recursive: true }));

const torchFile = (name: string): Buffer => readFileSync(join(folder, name));
const plain = ({ dtype, shape, data }: Tensor) => ({ dtype, shape: [...shape], hex: Buffer.from(data).toString('hex') });
const f32 = (...values: number[]): Tensor => ({ dtype: 'F32', shape: [values.length], data: new Uint8Array(Float32Array.from(values).buffer) });

function codeOf(work: () => unknown): { code: string; message: string } {
  try {
    work();
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error('expected an error');
}

describe('PyTorch files', () => {
  test.each(['legacy.pt', 'zip.pt', 'protocol4.pt'])('%s: every tensor as Python reads it, whatever its strides', (name) => {
    const tensors = readTorchFile(torchFile(name), name);
    const expected = JSON.parse(torchFile('expected.json').toString());
    expect(Object.fromEntries([...tensors].map(([key, tensor]) => [key, plain(tensor)]))).toEqual(expected);
    expect([...tensors.keys()]).toEqual(Object.keys(expected));
  });

  test.each([
    ['evil-system-2.pt', 'posix.system'],
    ['evil-system-4.pt', 'posix.system'],
    ['evil-legacy.pt', 'posix.system'],
    ['evil-eval-2.pt', '__builtin__.eval'],
    ['evil-eval-4.pt', 'builtins.eval'],
    ['evil-instance-2.pt', '__main__.Plain'],
    ['evil-instance-4.pt', '__main__.Plain'],
    ['evil-inst.pt', 'os.system'],
    ['evil-obj.pt', 'the opcode OBJ'],
    ['evil-ext.pt', 'the opcode EXT1'],
  ])('%s is refused by name (%s)', (name, wanted) => {
    const error = codeOf(() => readTorchFile(torchFile(name), name));
    expect(error).toMatchObject({ code: 'ERR_WEIGHTS_UNSAFE' });
    expect(error.message).toContain(`${name}: the pickle wants ${wanted},`);
  });

  test('no hostile file executed anything, the ones in the text protocol included', async () => {
    const hostile = (await readdir(folder)).filter((name) => name.startsWith('evil'));
    expect(hostile).toHaveLength(13);
    for (const name of hostile) expect(codeOf(() => readTorchFile(torchFile(name), name)).code).toMatch(/^ERR_WEIGHTS_/);
    expect(existsSync(marker)).toBe(false);
    // The marker does appear where Python itself loads such a file.
    execFileSync('python3', ['-c', `import pickle, zipfile; pickle.loads(zipfile.ZipFile(${JSON.stringify(join(folder, 'evil-system-2.pt'))}).read('net/data.pkl'))`]);
    expect(existsSync(marker)).toBe(true);
    rmSync(marker);
  });

  test.each([
    ['list.pt', 'ERR_WEIGHTS_FORMAT', 'a list of 3, expected a state dict'],
    ['checkpoint.pt', 'ERR_WEIGHTS_FORMAT', 'a dict with "epoch": 3'],
    ['plain.pkl', 'ERR_WEIGHTS_FORMAT', 'magic number'],
    ['big-endian.pt', 'ERR_WEIGHTS_FORMAT', 'big-endian'],
    ['beyond.pt', 'ERR_WEIGHTS_CORRUPT', 'w of shape [3] and strides [1] does not fit in 3 elements'],
    ['expanded.pt', 'ERR_WEIGHTS_CORRUPT', 'w of shape [1000000, 1000000] and strides [0, 0] does not fit in 3 elements'],
    ['missing-storage.pt', 'ERR_ARCHIVE_CORRUPT', 'has no entry net/data/94001'],
  ])('%s: %s', (name, code, message) => {
    const error = codeOf(() => readTorchFile(torchFile(name), name));
    expect(error).toMatchObject({ code, name: 'FaissVisionError' });
    expect(error.message).toContain(message);
    expect(error.message).toContain(name);
  });

  test.each([
    ['costly-name.pt', 'ERR_WEIGHTS_CORRUPT', 'imports something that is not a name'],
    ['costly-keys.pt', 'ERR_WEIGHTS_CORRUPT', 'storage a list of 2 belongs to no tensor'],
    ['costly-nested-keys.pt', 'ERR_WEIGHTS_CORRUPT', 'storage a list of 1 belongs to no tensor'],
    ['costly-objects.pt', 'ERR_WEIGHTS_CORRUPT', 'more than 1048576 instructions'],
    ['costly-pickle.pt', 'ERR_ARCHIVE_CORRUPT', 'entry net/data.pkl claims 40000002 bytes out of'],
  ])('%s is refused before it takes time or memory', (name, code, message) => {
    const bytes = torchFile(name);
    const before = process.memoryUsage().rss;
    const error = codeOf(() => readTorchFile(bytes, name));
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
    expect(error.message.length).toBeLessThan(500);
    expect(process.memoryUsage().rss - before).toBeLessThan(500e6);
  });

  test('a small file that names one large storage a thousand times is opened at once, and its numbers are checked when they are asked for', () => {
    const tensors = openTorchFile(torchFile('costly-storage.pt'), 'costly-storage.pt');
    expect(tensors.size).toBe(1000);
    expect(codeOf(() => tensors.get('w7')!.data())).toMatchObject({
      code: 'ERR_ARCHIVE_CORRUPT',
      message: expect.stringMatching(/entry net\/data\/94006 claims 33554432 bytes out of \d{5}$/),
    });
  });

  test.each(['legacy.pt', 'zip.pt'])('%s cut at any byte is an error that names it', (name) => {
    const whole = torchFile(name);
    for (let length = 0; length < whole.length; length++) {
      const error = codeOf(() => readTorchFile(whole.subarray(0, length), name));
      expect(error.code).toMatch(/^ERR_(WEIGHTS|ARCHIVE)_CORRUPT$/);
      expect(error.message).toContain(name);
    }
  });

  test('bytes that are something else are an error with a code, never a crash', () => {
    fc.assert(
      fc.property(fc.constantFrom('legacy.pt', 'zip.pt'), fc.nat(), fc.integer({ min: 1, max: 255 }), (name, at, change) => {
        const bytes = Buffer.from(torchFile(name));
        bytes[at % bytes.length]! ^= change;
        try {
          readTorchFile(bytes, name);
        } catch (error) {
          expect(error).toMatchObject({ name: 'FaissVisionError' });
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('zip archives', () => {
  test('entries deflated by Python are read, and a changed byte is noticed by CRC', () => {
    const text = 'a wheel is a zip archive\n'.repeat(100);
    writeFileSync(join(folder, 'text.txt'), text);
    execFileSync('python3', ['-m', 'zipfile', '-c', 'made.zip', 'text.txt'], { cwd: folder });
    const bytes = torchFile('made.zip');
    const zip = new Zip(bytes, 'made.zip');
    expect(zip.names).toEqual(['text.txt']);
    expect(bytes.length).toBeLessThan(text.length);
    expect(zip.read('text.txt').toString()).toBe(text);

    const stored = torchFile('zip.pt');
    stored[stored.indexOf('net/data/94001') + 'net/data/94001'.length]! ^= 1;
    expect(codeOf(() => readTorchFile(stored, 'zip.pt'))).toMatchObject({
      code: 'ERR_ARCHIVE_CORRUPT',
      message: expect.stringContaining('net/data/94001 does not match its CRC-32'),
    });
  });

  test('zip64 sizes are read', () => {
    execFileSync('python3', [
      '-c',
      "import zipfile; zipfile.ZIP64_LIMIT = 0; z = zipfile.ZipFile('z64.zip', 'w'); z.writestr('a/data', b'12345'); z.close()",
    ], { cwd: folder });
    expect(torchFile('z64.zip').indexOf('PK\x06\x06', 0, 'latin1')).toBeGreaterThan(0);
    expect(new Zip(torchFile('z64.zip'), 'z64.zip').read('a/data').toString()).toBe('12345');
  });
});

describe('safetensors', () => {
  const dtype = fc.constantFrom(...(Object.keys(ELEMENT_SIZE) as ElementType[]));
  const tensor = fc.tuple(dtype, fc.array(fc.nat(4), { maxLength: 4 })).chain(([type, shape]) => {
    const length = elementCount(shape) * ELEMENT_SIZE[type];
    return fc.uint8Array({ minLength: length, maxLength: length }).map((data): Tensor => ({ dtype: type, shape, data }));
  });
  const name = fc.string().filter((key) => key !== '__metadata__');

  test('what was written is read again, for any names, types and shapes', () => {
    const contents = fc.record({
      tensors: fc.uniqueArray(fc.tuple(name, tensor), { selector: ([key]) => key, maxLength: 6 }).map((entries) => new Map(entries)),
      metadata: fc.dictionary(fc.string().filter((key) => key !== '__proto__'), fc.string(), { noNullPrototype: true }),
    });
    fc.assert(
      fc.property(contents, ({ tensors, metadata }) => {
        const bytes = encodeSafetensors({ tensors, metadata });
        expect(bytes.equals(encodeSafetensors({ tensors, metadata }))).toBe(true);
        const again = decodeSafetensors(bytes);
        expect(again.metadata).toEqual(metadata);
        expect(again.tensors.size).toBe(tensors.size);
        for (const [key, value] of tensors) expect(plain(again.tensors.get(key)!)).toEqual(plain(value));
      }),
    );
  });

  test('the layout is the documented one', () => {
    const bytes = encodeSafetensors({
      tensors: new Map<string, Tensor>([
        ['half', { dtype: 'F16', shape: [1], data: Uint8Array.of(1, 2) }],
        ['full', f32(1.5, -2)],
      ]),
      metadata: { model: 'test' },
    });
    const headerLength = Number(bytes.readBigUInt64LE(0));
    expect(headerLength % 8).toBe(0);
    expect(JSON.parse(bytes.toString('utf8', 8, 8 + headerLength))).toEqual({
      __metadata__: { model: 'test' },
      full: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
      half: { dtype: 'F16', shape: [1], data_offsets: [8, 10] },
    });
    expect(bytes.readFloatLE(8 + headerLength + 4)).toBe(-2);
    expect(bytes.length).toBe(8 + headerLength + 10);
  });

  test('a file cut at any byte is an error that names it', () => {
    const whole = encodeSafetensors({ tensors: new Map([['a', f32(1, 2, 3)], ['b', f32(4)]]), metadata: { model: 'test' } });
    for (let length = 0; length < whole.length; length++) {
      const error = codeOf(() => decodeSafetensors(whole.subarray(0, length), 'cut.safetensors'));
      expect(error).toMatchObject({ code: 'ERR_WEIGHTS_CORRUPT', message: expect.stringContaining('cut.safetensors') });
    }
  });

  const file = (header: unknown, dataBytes: number, headerLength?: bigint): Buffer => {
    const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(headerLength ?? BigInt(json.length));
    return Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
  };
  const entry = (begin: number, end: number, shape: unknown = [(end - begin) / 4], type: unknown = 'F32') => ({
    dtype: type,
    shape,
    data_offsets: [begin, end],
  });

  test.each<[string, Buffer, string]>([
    ['a header length beyond the file', file({}, 0, 2n ** 63n), 'the header says'],
    ['a header length of 4 GiB', file({}, 8, 2n ** 32n), 'the header says 4294967296 bytes, the file has 10'],
    ['no JSON', file('{"a":', 0), 'not JSON'],
    ['bytes that are no UTF-8', file(Buffer.from([0x22, 0xff, 0x22]).toString('latin1'), 0), 'not a JSON object'],
    ['a list', file([], 0), 'not a JSON object'],
    ['data beyond the end', file({ a: entry(0, 16) }, 8), 'tensor a lies at bytes 0 to 16 of the data, which have 8'],
    ['a negative offset', file({ a: entry(-4, 4) }, 8), 'data_offsets [-4,4]'],
    ['offsets the wrong way round', file({ a: entry(8, 4, [1]) }, 8), 'tensor a lies at bytes 8 to 4'],
    ['a shape that does not fit', file({ a: entry(0, 8, [3]) }, 8), 'needs 12 bytes, its data_offsets give 8'],
    ['a shape that overflows', file({ a: entry(0, 8, [2 ** 52, 2 ** 52]) }, 8), 'needs'],
    ['a negative shape', file({ a: entry(0, 8, [-1, -2]) }, 8), 'shape [-1,-2]'],
    ['a fractional shape', file({ a: entry(0, 8, [0.5, 4]) }, 8), 'shape [0.5,4]'],
    ['an unknown type', file({ a: entry(0, 8, [2], 'F13') }, 8), 'dtype "F13"'],
    ['a type from the prototype', file({ a: entry(0, 8, [2], 'constructor') }, 8), 'dtype "constructor"'],
    ['an overlap', file({ a: entry(0, 8), b: entry(4, 12) }, 12), 'tensor b begins at byte 4 of the data, expected 8'],
    ['a gap', file({ a: entry(0, 4), b: entry(8, 12) }, 12), 'tensor b begins at byte 8 of the data, expected 4'],
    ['bytes left over', file({ a: entry(0, 4) }, 8), 'cover 4 bytes, the data have 8'],
    ['a name twice', file('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', 8), 'expected 0'],
    ['metadata that is not strings', file({ __metadata__: { a: 1 } }, 0), '__metadata__'],
  ])('a header with %s is refused', (_what, bytes, message) => {
    const error = codeOf(() => decodeSafetensors(bytes, 'hostile.safetensors'));
    expect(error).toMatchObject({ code: 'ERR_WEIGHTS_CORRUPT' });
    expect(error.message).toContain(message);
  });

  test('a tensor whose data do not fit its shape is not written', async () => {
    const target = join(folder, 'wrong.safetensors');
    const wrong = writeSafetensors(target, { tensors: new Map([['w', { ...f32(1, 2), shape: [3] }]]), metadata: {} });
    await expect(wrong).rejects.toMatchObject({ code: 'ERR_WEIGHTS_FORMAT', message: expect.stringContaining('needs 12 bytes, got 8') });
    expect(existsSync(target)).toBe(false);
  });

  test('writing replaces a file whole and leaves nothing else behind', async () => {
    const target = join(folder, 'w.safetensors');
    await writeSafetensors(target, { tensors: new Map([['a', f32(1, 2, 3)]]), metadata: {} });
    await writeSafetensors(target, { tensors: new Map([['b', f32(7)]]), metadata: {} });
    expect([...decodeSafetensors(readFileSync(target)).tensors.keys()]).toEqual(['b']);
    expect((await readdir(folder)).filter((entryName) => entryName.includes('unfinished'))).toEqual([]);
  });
});

describe('TensorFlow.js weights', () => {
  const manifest = (...weights: unknown[]): string => JSON.stringify([{ weights, paths: ['w.bin'] }]);
  const quantised = (scale: number, min: number, shape: number[]) => ({
    name: 'conv/filters',
    shape,
    dtype: 'float32',
    quantization: { dtype: 'uint8', scale, min },
  });

  test('a byte becomes byte * scale + min, rounded to float32 once', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), fc.double({ min: -1, max: 1, noNaN: true }), fc.double({ min: -9, max: 9, noNaN: true }), (bytes, scale, min) => {
        const tensor = readTfjsWeights(manifest(quantised(scale, min, [bytes.length])), bytes, 'w.bin').get('conv/filters')!;
        const expected = Float32Array.from(bytes, (byte) => byte * scale + min);
        expect(tensor.dtype).toBe('F32');
        expect(Buffer.from(tensor.data).equals(Buffer.from(expected.buffer))).toBe(true);
      }),
    );
    // Rounding the product first, as arithmetic in float32 would, gives another last bit here.
    const [scale, min] = [0.0005260649557207145, -0.07101876902229645];
    const all = readTfjsWeights(manifest(quantised(scale, min, [256])), Uint8Array.from({ length: 256 }, (_, i) => i), 'w.bin');
    const numbers = new Float32Array(all.get('conv/filters')!.data.slice().buffer);
    const inFloat32 = Float32Array.from({ length: 256 }, (_, i) => Math.fround(i * Math.fround(scale)) + Math.fround(min));
    expect(numbers).not.toEqual(inFloat32);
  });

  test('plain float32 weights between quantised ones keep their place', () => {
    const bytes = Buffer.concat([Buffer.from([0, 255]), Buffer.from(Float32Array.of(0.1, -7).buffer), Buffer.from([2])]);
    const tensors = readTfjsWeights(
      manifest(quantised(2, 1, [2, 1]), { name: 'plain', shape: [2], dtype: 'float32' }, { ...quantised(4, 0, [1]), name: 'last' }),
      bytes,
      'w.bin',
    );
    const numbers = [...tensors].map(([key, { shape, data }]) => [key, shape, [...new Float32Array(Uint8Array.from(data).buffer)]]);
    expect(numbers).toEqual([
      ['conv/filters', [2, 1], [1, 511]],
      ['plain', [2], [Math.fround(0.1), -7]],
      ['last', [1], [8]],
    ]);
  });

  test.each([
    [1, 'cut short: conv/filters needs 2 bytes from byte 0, there are 1'],
    [3, 'the manifest describes 2 bytes, there are 3'],
  ])('%i bytes for two weights are refused', (length, message) => {
    const error = codeOf(() => readTfjsWeights(manifest(quantised(1, 0, [2])), new Uint8Array(length), 'w.bin'));
    expect(error).toMatchObject({ code: 'ERR_WEIGHTS_CORRUPT', message: `w.bin: ${message}` });
  });

  test.each([
    ['no JSON', '[', 'not JSON'],
    ['an object', '{}', 'not a list of groups'],
    ['an entry without a shape', manifest({ name: 'w', dtype: 'float32' }), 'has the entry {"name":"w"'],
    ['an integer type', manifest({ name: 'w', shape: [1], dtype: 'int32' }), 'w has dtype int32'],
    ['another quantisation', manifest({ ...quantised(1, 0, [1]), quantization: { dtype: 'float16', scale: 1, min: 0 } }), 'quantised to float16'],
  ])('a manifest with %s is refused', (_what, text, message) => {
    const error = codeOf(() => readTfjsWeights(text, new Uint8Array(4), 'w.bin'));
    expect(error).toMatchObject({ code: 'ERR_WEIGHTS_FORMAT', message: expect.stringContaining(message) });
  });
});
