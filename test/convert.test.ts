import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convertWeights, DepthEstimator } from 'faiss-vision/depth';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../dist/models/checkpoint';
import { readCoreMl } from '../dist/models/coreml';
import { crc32c } from '../dist/models/crc32c';
import { facenetVariables } from '../dist/models/facenet-variables';
import { fcrnVariables } from '../dist/models/fcrn-variables';
import { readNumpyDictionary } from '../dist/models/numpy-file';
import { decodeSafetensors } from '../dist/models/safetensors';
import { toFloat32 } from '../dist/models/source';
import { seededData, seededWeights } from '../dist/depth/seeded';
import { fcrnGraph } from './support/fcrn-graph';
import { seededImage } from './support/seeded';
import { type CoreMlLayer, type CoreMlOptions, coreMl, npy, type Numbers, writeCheckpoint, writeParts } from './support/weights-files';

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-convert-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const error = (code: string, text = '') => expect.objectContaining({ code, message: expect.stringContaining(text) });
const f32 = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const numbers = (bytes: Uint8Array) => [...new Float32Array(Uint8Array.from(bytes).buffer)];
/** `convertWeights` refuses a file of the folder. */
const refused = (name: string, code: string, text: string) =>
  expect(convertWeights(at(name), at('refused.safetensors'))).rejects.toThrowError(error(code, text));
const whole = (parts: Iterable<Buffer>) => Buffer.concat([...parts]);

const few: Numbers[] = [
  { name: 'conv1/weights', shape: [1, 2, 1, 3], data: f32(1, 2, 3, 4, 5, 6) },
  { name: 'conv1/biases', shape: [3], data: f32(7, 8, 9) },
  { name: 'bn_conv1/mean', shape: [3], data: f32(-1, 0, 1) },
];

/** The seeded network's variables, each made when its turn comes. */
function* seeded(leaveOut?: string): Generator<Numbers> {
  for (const variable of fcrnVariables()) if (variable.name !== leaveOut) yield { ...variable, data: seededData(variable) };
}

/** The same as layers of Core ML. */
function coreMlLayers(leaveOut?: string): CoreMlLayer[] {
  const layers = new Map<string, CoreMlLayer>();
  for (const variable of fcrnVariables()) {
    const [layer, parameter] = variable.name.split('/') as [string, string];
    const data = seededData(variable);
    if (parameter === 'weights') {
      const [height, width, channels, out] = variable.shape as [number, number, number, number];
      const from = new Float32Array(data.buffer);
      const to = new Float32Array(from.length);
      let place = 0;
      for (let o = 0; o < out; o++)
        for (let c = 0; c < channels; c++)
          for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) to[place++] = from[((y * width + x) * channels + c) * out + o]!;
      layers.set(layer, { name: layer, kind: 'convolution', shape: [out, channels, height, width], numbers: { weights: new Uint8Array(to.buffer) } });
    } else if (parameter === 'biases') {
      layers.get(layer)!.numbers.bias = data;
    } else {
      const norm = layers.get(layer) ?? { name: layer, kind: 'batchnorm', shape: variable.shape, numbers: {} };
      layers.set(layer, norm);
      norm.numbers[{ mean: 'mean', variance: 'variance', scale: 'gamma', offset: 'beta' }[parameter]!] = data;
    }
  }
  return [...layers.values()].filter(({ name }) => name !== leaveOut);
}

let reference: Buffer;
beforeAll(async () => {
  reference = readFileSync(await seededWeights());
});

/** The converted file holds the seeded file's tensors, bit for bit. */
function expectSeeded(path: string, metadata: Record<string, string>): void {
  const converted = decodeSafetensors(readFileSync(path));
  expect(converted.metadata).toEqual({ format: 'faiss-vision', ...metadata });
  const { tensors } = decodeSafetensors(reference);
  expect([...converted.tensors.keys()]).toEqual([...tensors.keys()]);
  for (const [name, { dtype, shape, data }] of tensors) {
    const tensor = converted.tensors.get(name)!;
    expect([tensor.dtype, tensor.shape]).toEqual([dtype, shape]);
    if (Buffer.compare(tensor.data, data) !== 0) throw new Error(`${name} has other numbers`);
  }
}

describe('numpy', () => {
  it.each([
    ['Python 2', 2, 'numpy.core.multiarray'],
    ['Python 3', 3, 'numpy.core.multiarray'],
    ['numpy 2', 3, 'numpy._core.multiarray'],
  ] as const)('a dictionary that %s wrote', (_, python, module) => {
    const tensors = readNumpyDictionary(whole(npy(few, python, 'f4', false, module)), 'few.npy');
    const expected = few.map(({ name, shape, data }) => [name, shape, numbers(data)]);
    expect([...tensors].map(([name, { shape, data }]) => [name, shape, numbers(data())])).toEqual(expected);
  });

  it('Fortran order and doubles become C order and floats', () => {
    const doubles = { name: 'a/weights', shape: [2, 3], data: new Uint8Array(Float64Array.of(1, 4, 2, 5, 3, 6).buffer) };
    const { dtype, shape, data } = readNumpyDictionary(whole(npy([doubles], 3, 'f8', true)), 'doubles.npy').get('a/weights')!;
    expect(numbers(toFloat32({ dtype, shape, data: data() }, 'a/weights'))).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('cut anywhere is an error that names the file', () => {
    const file = whole(npy(few));
    for (let length = 8; length < file.length; length++) {
      expect(() => readNumpyDictionary(file.subarray(0, length), 'cut.npy')).toThrowError(error('ERR_WEIGHTS_CORRUPT', 'cut.npy'));
    }
  });

  it.each([
    ['os\nsystem', 'os.system'],
    ['builtins\neval', 'builtins.eval'],
    ['numpy.core.multiarray\nscalar', 'numpy.core.multiarray.scalar'],
    ['numpy.testing._private.utils\nruncmd', 'numpy.testing._private.utils.runcmd'],
  ])('a pickle that wants %j is refused by name', (wanted, name) => {
    const [header] = npy([]);
    const pickle = Buffer.from(`\x80\x02c${wanted}\nU\x09touch x/y\x85R.`, 'latin1');
    expect(() => readNumpyDictionary(Buffer.concat([header!, pickle]), 'evil.npy')).toThrowError(error('ERR_WEIGHTS_UNSAFE', name));
  });

  it('an array of numbers is no dictionary', () => {
    const head = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }".padEnd(117) + '\n';
    const file = Buffer.from(`\x93NUMPY\x01\x00\x76\x00${head}abcd`, 'latin1');
    expect(() => readNumpyDictionary(file, 'a.npy')).toThrowError(error('ERR_WEIGHTS_FORMAT', 'an array of numbers'));
  });

  it('of the whole network: the seeded file, and its depths', async () => {
    writeParts(at('fcrn.npy'), npy(seeded(), 2));
    const steps: number[] = [];
    const result = await convertWeights(at('fcrn.npy'), at('fcrn.safetensors'), ({ done, total }) => steps.push(done / total));
    const metadata = { model: 'fcrn', source: 'fcrn.npy', near: 'low', unit: 'metres' };
    expect(result).toEqual({ model: 'fcrn', variables: fcrnVariables().length, metadata: { format: 'faiss-vision', ...metadata } });
    expect([steps.length, steps.at(-1)]).toEqual([fcrnVariables().length, 1]);
    expectSeeded(at('fcrn.safetensors'), metadata);

    const picture = { data: seededImage('fcrn-b', 228, 304), width: 304, height: 228, channels: 3 as const };
    const [one, other] = [await DepthEstimator.load({ weights: at('fcrn.safetensors') }), await DepthEstimator.load({ weights: 'seeded' })];
    expect((await one.estimate(picture)).values).toEqual((await other.estimate(picture)).values);
    expect([one.near, one.seeded]).toEqual(['low', false]);
    await Promise.all([one.close(), other.close()]);

    truncateSync(at('fcrn.npy'), 100_000_000);
    await refused('fcrn.npy', 'ERR_WEIGHTS_CORRUPT', 'fcrn.npy');
    expect(existsSync(at('refused.safetensors'))).toBe(false);
    for (const file of ['fcrn.npy', 'fcrn.safetensors']) rmSync(at(file));
  });

  it('of another network, or without a variable, is refused by its name', async () => {
    writeParts(at('few.npy'), npy(few));
    await refused('few.npy', 'ERR_WEIGHTS_MISMATCH', 'conv1/weights has shape [1, 2, 1, 3], expected conv1/weights [7, 7, 3, 64]');
    writeParts(at('fcrn.npy'), npy(seeded('res4c_branch2b/weights')));
    await refused('fcrn.npy', 'ERR_WEIGHTS_MISMATCH', 'the variable res4c_branch2b/weights [3, 3, 256, 256] of fcrn is missing');
    rmSync(at('fcrn.npy'));
  });
});

describe('a TensorFlow checkpoint', () => {
  it('CRC-32C has the check value of its standard', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283); // RFC 3720, B.4, has others
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa);
  });

  it('a small one, its index cut or changed anywhere', async () => {
    writeCheckpoint(at('few.ckpt'), few);
    const tensors = await openCheckpoint(at('few.ckpt.index'));
    for (const { name, shape, data } of few) {
      const tensor = tensors.get(name)!;
      expect([tensor.shape, numbers(await tensor.data())]).toEqual([shape, numbers(data)]);
    }
    const index = readFileSync(at('few.ckpt.index'));
    writeFileSync(at('bad.ckpt.data-00000-of-00001'), readFileSync(at('few.ckpt.data-00000-of-00001')));
    for (let i = 0; i < index.length; i++) {
      writeFileSync(at('bad.ckpt.index'), index.subarray(0, i));
      await expect(openCheckpoint(at('bad.ckpt.index'))).rejects.toThrowError(error('ERR_WEIGHTS_CORRUPT', 'bad.ckpt.index'));
    }
    const changed = Buffer.from(index);
    changed[20]! ^= 1;
    writeFileSync(at('bad.ckpt.index'), changed);
    await expect(openCheckpoint(at('bad.ckpt.index'))).rejects.toThrowError(error('ERR_WEIGHTS_CORRUPT', 'checksum'));
  });

  it('with a data file that is missing, short or damaged', async () => {
    writeCheckpoint(at('data.ckpt'), few);
    const data = at('data.ckpt.data-00000-of-00001');
    const bytes = readFileSync(data);
    bytes[5]! ^= 1;
    writeFileSync(data, bytes);
    const tensors = await openCheckpoint(at('data.ckpt.index'));
    const reading = tensors.get('conv1/weights')!.data();
    await expect(reading).rejects.toThrowError(error('ERR_WEIGHTS_CORRUPT', 'conv1/weights does not match its checksum'));
    truncateSync(data, 40);
    await expect(openCheckpoint(at('data.ckpt.index'))).rejects.toThrowError(error('ERR_WEIGHTS_CORRUPT', 'which has 40'));
    rmSync(data);
    await expect(openCheckpoint(at('data.ckpt.index'))).rejects.toThrowError(error('ERR_WEIGHTS_CORRUPT', 'is missing'));
  });

  it('of the whole network, by any of its names: the seeded file', async () => {
    mkdirSync(at('whole'));
    writeCheckpoint(at('whole/NYU.ckpt'), [...seeded()]);
    for (const name of ['NYU.ckpt', 'NYU.ckpt.index', 'NYU.ckpt.data-00000-of-00001', '']) {
      await convertWeights(join(at('whole'), name), at('ckpt.safetensors'));
      expectSeeded(at('ckpt.safetensors'), { model: 'fcrn', source: 'NYU.ckpt.index', near: 'low', unit: 'metres' });
    }
    rmSync(at('whole'), { recursive: true });
    writeCheckpoint(at('few.ckpt'), few.slice(1));
    await refused('few.ckpt', 'ERR_WEIGHTS_MISMATCH', 'conv1/weights [7, 7, 3, 64] of fcrn is missing');
  });
});

describe("Apple's Core ML", () => {
  const write = (name: string, layers: readonly CoreMlLayer[], options?: CoreMlOptions) => writeParts(at(name), coreMl(layers, options));

  it('of the whole network: the seeded file, and another epsilon makes an equal norm', async () => {
    const layers = coreMlLayers();
    write('fcrn.mlmodel', layers);
    await convertWeights(at('fcrn.mlmodel'), at('ml.safetensors'));
    expectSeeded(at('ml.safetensors'), { model: 'fcrn', source: 'fcrn.mlmodel', near: 'high' });
    rmSync(at('ml.safetensors'));

    const file = whole(coreMl(layers.slice(0, 2), { epsilon: 1e-3, bgr: true }));
    const tensors = readCoreMl(file, 'fcrn.mlmodel');
    const variance = numbers(await tensors.get('bn_conv1/variance')!.data());
    const theirs = numbers(layers[1]!.numbers.variance!);
    for (const [i, value] of variance.entries()) expect(value + 1e-4).toBeCloseTo(theirs[i]! + 1e-3, 6);
    // Blue first: the last channel of the kernel is the authors' first.
    const weights = numbers(await tensors.get('conv1/weights')!.data());
    const original = numbers(seededData({ name: 'conv1/weights', shape: [7, 7, 3, 64] }));
    expect([weights.slice(0, 64), weights.slice(64, 128)]).toEqual([original.slice(128, 192), original.slice(64, 128)]);

    rmSync(at('fcrn.mlmodel'));
  });

  it('of the whole network without any of the names, and its branches the other way round: the seeded file', async () => {
    const layers = new Map(coreMlLayers().map((layer) => [layer.name, layer]));
    write('other.mlmodel', fcrnGraph((name) => layers.get(name)!));
    await convertWeights(at('other.mlmodel'), at('ml.safetensors'));
    expectSeeded(at('ml.safetensors'), { model: 'fcrn', source: 'other.mlmodel', near: 'high' });
    for (const name of ['other.mlmodel', 'ml.safetensors']) rmSync(at(name));
    layers.set('res4c_branch2b', { ...layers.get('res4c_branch2b')!, kind: 'other' });
    write('other.mlmodel', fcrnGraph((name) => layers.get(name)!));
    await refused('other.mlmodel', 'ERR_WEIGHTS_MISMATCH', 'branch2b/weights [3, 3, 256, 256] of fcrn is missing');
    rmSync(at('other.mlmodel'));
  });

  it('with norms and biases taken apart into layers of their own: an equal network', async () => {
    const layers = new Map(coreMlLayers().map((layer) => [layer.name, layer]));
    const tensors = readCoreMl(whole(coreMl(fcrnGraph((name) => layers.get(name)!, { apart: true }))), 'apart.mlmodel');
    expect([...tensors.keys()]).toEqual(fcrnVariables().map(({ name }) => name));
    const { tensors: expected } = decodeSafetensors(reference);
    for (const [name, tensor] of tensors) {
      // A bias before a norm may have become a part of that.
      if (!name.endsWith('/weights') && !/(br[12]_Conv.|ConvPred)\/biases$/.test(name)) continue;
      if (Buffer.compare(await tensor.data(), expected.get(name)!.data) !== 0) throw new Error(`${name} has other numbers`);
    }
    const biasBefore = (norm: string) => ({ bn_conv1: 'conv1', layer1_BN: 'layer1' })[norm] ?? norm.replace(/x_BN$/, 'x_Conv');
    for (const name of tensors.keys()) {
      if (!name.endsWith('/mean')) continue;
      const norm = name.slice(0, -'/mean'.length);
      const effect = async (numbersOf: (variable: string) => Promise<number[]> | number[] | undefined) => {
        const parts = ['mean', 'variance', 'scale', 'offset'].map((parameter) => numbersOf(`${norm}/${parameter}`)!);
        const [mean, variance, scale, offset] = await Promise.all(parts);
        const bias = await numbersOf(`${biasBefore(norm)}/biases`);
        const factor = scale!.map((value, i) => value / Math.sqrt(variance![i]! + 1e-4));
        return [...factor, ...factor.map((value, i) => offset![i]! + ((bias?.[i] ?? 0) - mean![i]!) * value)];
      };
      const ours = await effect(async (variable) => numbers((await tensors.get(variable)?.data()) ?? new Uint8Array()));
      const theirs = await effect((variable) => numbers(expected.get(variable)?.data ?? new Uint8Array()));
      expect(Math.max(...ours.map((value, i) => Math.abs(value - theirs[i]!))), norm).toBeLessThan(1e-6);
    }
  });

  it('in halves, and with norms folded into biases', async () => {
    const half = (...bits: number[]) => new Uint8Array(Uint16Array.from(bits).buffer);
    const layer = (name: string, bias: Uint8Array | undefined): CoreMlLayer => {
      const numbers = { weights: half(0x3c00, 0xc000), ...(bias ? { bias } : {}) };
      return { name, kind: 'convolution', shape: [1, 1, 2, 1], numbers };
    };
    const tensors = readCoreMl(whole(coreMl([layer('res2a_branch1', half(0x3800)), layer('conv1', undefined)], { half: true })), 'half.mlmodel');
    expect(numbers(await tensors.get('res2a_branch1/weights')!.data())).toEqual([1, -2]);
    expect(numbers(await tensors.get('conv1/biases')!.data())).toEqual([0]);
    const norm = async (name: string) => numbers(await tensors.get(`bn2a_branch1/${name}`)!.data())[0]!;
    expect([await norm('mean'), await norm('scale'), await norm('offset')]).toEqual([0, 1, 0.5]);
    expect((await norm('variance')) + 1e-4).toBeCloseTo(1, 6);
  });

  it('without a layer, cut, or with other preprocessing is refused by name', async () => {
    write('fcrn.mlmodel', coreMlLayers('layer4x_br2_ConvC'));
    await refused('fcrn.mlmodel', 'ERR_WEIGHTS_MISMATCH', 'layer4x_br2_ConvC/weights');
    truncateSync(at('fcrn.mlmodel'), 1_000_000);
    await refused('fcrn.mlmodel', 'ERR_WEIGHTS_CORRUPT', 'fcrn.mlmodel');
    write('fcrn.mlmodel', [], { bias: -103.9 });
    await refused('fcrn.mlmodel', 'ERR_WEIGHTS_FORMAT', 'preprocessing');
    rmSync(at('fcrn.mlmodel'));
  });
});

describe('anything else', () => {
  it("FaceNet's variables are those of facenet-pytorch", () => {
    const { variables } = JSON.parse(readFileSync(join(__dirname, 'golden/facenet/facenet.json'), 'utf8'));
    expect(facenetVariables().map(({ name, shape }) => [name, shape])).toEqual(variables);
  });

  it("FaceNet's state dict keeps its names and loses its classifier", async () => {
    const variables = facenetVariables().map(({ name, shape }) => [name, shape]);
    const script = join(__dirname, 'fixtures/models/facenet_state_dict.py');
    const write = (listed: unknown[]) => execFileSync('python3', [script, at('vggface2.pt')], { input: JSON.stringify(listed) });
    write([...variables, ['logits.weight', [8631, 512]], ['logits.bias', [8631]]]);
    const result = await convertWeights(at('vggface2.pt'), at('facenet.safetensors'));
    expect(result).toMatchObject({ model: 'facenet', variables: 602, metadata: { model: 'facenet', source: 'vggface2.pt' } });
    const { tensors, metadata } = decodeSafetensors(readFileSync(at('facenet.safetensors')));
    expect(metadata).toEqual({ format: 'faiss-vision', model: 'facenet', source: 'vggface2.pt' });
    expect([...tensors].map(([name, { shape }]) => [name, shape])).toEqual(variables);
    for (const [i, { data }] of [...tensors.values()].entries()) {
      expect([data.subarray(0, 4), data.subarray(-4)]).toEqual([Buffer.from(f32(i)), Buffer.from(f32(i))]);
    }
    write(variables.filter(([name]) => name !== 'last_bn.running_var'));
    await refused('vggface2.pt', 'ERR_WEIGHTS_MISMATCH', 'last_bn.running_var [512] of facenet is missing');
    for (const name of ['vggface2.pt', 'facenet.safetensors']) rmSync(at(name));
  });

  it.each([
    ['empty.npy', '', 'ERR_WEIGHTS_CORRUPT', 'is empty'],
    ['text.npy', 'weights', 'ERR_WEIGHTS_FORMAT', 'no known format'],
    ['text.index', 'weights', 'ERR_WEIGHTS_CORRUPT', 'not the index of a checkpoint'],
    ['zip.pt', 'PK\x03\x04 and then nothing', 'ERR_ARCHIVE_CORRUPT', 'zip.pt'],
  ])('%s', async (name, content, code, message) => {
    writeFileSync(at(name), content);
    await expect(convertWeights(at(name), at('out.safetensors'))).rejects.toThrowError(error(code, message));
  });

  it('a file that is not there, an argument that is no path', async () => {
    await refused('nothing.npy', 'ERR_WEIGHTS_NOT_FOUND', 'nothing.npy');
    await expect(convertWeights(7 as unknown as string, at('out'))).rejects.toThrowError(error('ERR_INVALID_ARGUMENT', '`input`'));
  });

  it('a state dict of another network, as its missing variable', async () => {
    execFileSync('python3', [join(__dirname, 'fixtures/models/torch_files.py'), folder, at('executed')]);
    await refused('zip.pt', 'ERR_WEIGHTS_MISMATCH', 'conv2d_1a.conv.weight [32, 3, 3, 3] of facenet is missing');
    await refused('evil-system-2.pt', 'ERR_WEIGHTS_UNSAFE', 'posix.system');
    expect(existsSync(at('executed'))).toBe(false);
  });
});

describe('the real libraries', () => {
  // FAISS_VISION_PYTHON names another Python that has them.
  const python = process.env.FAISS_VISION_PYTHON ?? 'python3';
  const script = join(__dirname, 'fixtures/models/fcrn_files.py');

  it.for([
    ['numpy', 'fcrn.npy', { near: 'low', unit: 'metres' }],
    ['tensorflow', 'fcrn.ckpt', { near: 'low', unit: 'metres' }],
    ['coremltools', 'fcrn.mlmodel', { near: 'high' }],
  ] as [string, string, Record<string, string>][])('%s: its file of the whole network', async ([library, file, metadata], { skip }) => {
    const missing = spawnSync(python, ['-c', `import ${library}`], { encoding: 'utf8' });
    if (missing.status !== 0) skip(`${python} has no ${library}: ${missing.stderr?.trim().split('\n').at(-1)}`);
    execFileSync(python, [script, library, await seededWeights(), at(file)], { stdio: 'pipe' });
    await convertWeights(at(file), at('real.safetensors'));
    expectSeeded(at('real.safetensors'), { model: 'fcrn', source: library === 'tensorflow' ? `${file}.index` : file, ...metadata });
  }, 400_000);
});
