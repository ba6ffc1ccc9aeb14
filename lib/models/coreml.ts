import { FaissVisionError } from '../error';
import { fcrnVariables } from './fcrn-variables';
import { bytesField, fields, numberField, numberFields } from './protobuf';
import { type SourceTensors, toFloat32 } from './source';
import { elementCount } from './tensor';

// Numbers of fields in Core ML's Model.proto, FeatureTypes.proto and NeuralNetwork.proto.
const MODEL = { description: 2, regressor: 303, classifier: 403, network: 500 };
const NETWORK = { layers: 1, preprocessing: 2 };
const SCALER = { scaler: 10, meanImage: 11, channelScale: 10, biases: [20, 21, 22, 30] };
const LAYER = { name: 1, convolution: 100, batchnorm: 160 };
const CONVOLUTION = { out: 1, in: 2, groups: 10, kernelSize: 20, deconvolution: 60, weights: 90, bias: 91 };
const NORM = { epsilon: 10, gamma: 15, beta: 16, mean: 17, variance: 18 };
const WEIGHTS = { float32: 1, float16: 2 };
const BGR = 30;

/** What the authors' network adds to a variance before its root. */
const EPSILON = 1e-4;

interface Convolution {
  out: number;
  in: number;
  height: number;
  width: number;
  weights: Buffer;
  bias: Buffer | undefined;
}

/** Whether the bytes begin as Core ML's Model does, with its version and its description. */
export function isCoreMl(bytes: Buffer): boolean {
  return bytes.length > 4 && bytes[0] === 0x08 && bytes[1]! > 0 && bytes[1]! < 20 && (bytes[2] === 0x12 || bytes[2] === 0x50);
}

/**
 * Reads FCRN out of Apple's Core ML format (a Model with a NeuralNetwork): convolutions and batch norms under the names of the
 * authors' layers, in float32 or float16. A batch norm of another epsilon, or one that was folded into its convolution, is
 * turned into an equal one.
 *
 * @param name names the file in errors
 * @throws ERR_WEIGHTS_CORRUPT, ERR_WEIGHTS_FORMAT, ERR_WEIGHTS_MISMATCH
 */
export function readCoreMl(file: Buffer, name: string): SourceTensors {
  const corrupt = (what: string, cause?: unknown) => new FaissVisionError('ERR_WEIGHTS_CORRUPT', `${name}: ${what}`, { cause });
  const format = (what: string) => new FaissVisionError('ERR_WEIGHTS_FORMAT', `${name}: ${what}`);
  const convolutions = new Map<string, Convolution>();
  const norms = new Map<string, Buffer>();
  let bgr = false;
  try {
    const network = bytesField(file, MODEL.network) ?? bytesField(file, MODEL.regressor) ?? bytesField(file, MODEL.classifier);
    if (!network) throw format('a Core ML model without a neural network of layers');
    bgr = readsBgr(bytesField(file, MODEL.description));
    for (const { number, value } of fields(network)) {
      if (typeof value === 'number') continue;
      if (number === NETWORK.preprocessing) requirePlain(value);
      if (number !== NETWORK.layers) continue;
      const layer = bytesField(value, LAYER.name)?.toString('utf8') ?? '';
      const convolution = bytesField(value, LAYER.convolution);
      const norm = bytesField(value, LAYER.batchnorm);
      if (convolution) convolutions.set(layer, readConvolution(convolution, layer));
      if (norm) norms.set(layer, norm);
    }
    return tensors();
  } catch (error) {
    if (error instanceof RangeError) throw corrupt('cut short or damaged', error);
    throw error;
  }

  function tensors(): SourceTensors {
    const found: SourceTensors = new Map();
    const add = (variable: string, shape: number[], data: () => Uint8Array) => found.set(variable, { dtype: 'F32', shape, data });
    const variables = fcrnVariables();
    const wanted = new Set(variables.map((variable) => variable.name));
    let last: { layer: string; convolution: Convolution | undefined; biased: boolean } | undefined;
    for (const { name: variable } of variables) {
      const [layer, parameter] = variable.split('/') as [string, string];
      if (parameter === 'weights') {
        const convolution = convolutions.get(layer);
        // An up-projection's four convolutions share one norm; those have biases of their own, so `last` may be any of them.
        last = { layer, convolution, biased: wanted.has(`${layer}/biases`) };
        if (!convolution) continue; // said to be missing by whoever asks for it
        const { height, width, in: channels, out } = convolution;
        add(variable, [height, width, channels, out], () => reordered(convolution, layer === 'conv1' && bgr));
      } else if (parameter === 'biases') {
        const convolution = convolutions.get(layer);
        if (convolution) add(variable, [convolution.out], () => bytesOf(numbersOf(convolution.bias, convolution.out)));
      } else if (parameter === 'mean') {
        addNorm(layer, last);
      }
    }
    return found;

    function addNorm(layer: string, before: typeof last): void {
      const convolution = before?.convolution;
      if (!convolution) return;
      const channels = convolution.out;
      // Where the authors' layer has no bias and this one has, the bias is taken into the norm.
      const bias = () => numbersOf(before.biased ? undefined : convolution.bias, channels);
      const norm = norms.get(layer);
      if (!norm) {
        if (norms.size > 0) return; // the file has batch norms, but not this one
        add(`${layer}/mean`, [channels], () => bytesOf(new Float32Array(channels)));
        add(`${layer}/variance`, [channels], () => bytesOf(new Float32Array(channels).fill(1 - EPSILON)));
        add(`${layer}/scale`, [channels], () => bytesOf(new Float32Array(channels).fill(1)));
        add(`${layer}/offset`, [channels], () => bytesOf(bias()));
        return;
      }
      const epsilon = bytesField(norm, NORM.epsilon)?.readFloatLE() ?? 0;
      const parameter = (number: number) => floats(bytesField(norm, number), channels, layer);
      add(`${layer}/mean`, [channels], () => {
        const biases = bias();
        return bytesOf(parameter(NORM.mean).map((mean, i) => mean - biases[i]!));
      });
      // Theirs + their epsilon = ours + ours. An epsilon that is ours as a float32 changes nothing.
      const more = epsilon === Math.fround(EPSILON) ? 0 : epsilon - EPSILON;
      add(`${layer}/variance`, [channels], () => bytesOf(parameter(NORM.variance).map((variance) => variance + more)));
      add(`${layer}/scale`, [channels], () => bytesOf(parameter(NORM.gamma)));
      add(`${layer}/offset`, [channels], () => bytesOf(parameter(NORM.beta)));
    }
  }

  function readConvolution(message: Buffer, layer: string): Convolution {
    const [height = 3, width = 3] = numberFields(message, CONVOLUTION.kernelSize);
    const groups = numberField(message, CONVOLUTION.groups) ?? 1;
    if (groups > 1 || numberField(message, CONVOLUTION.deconvolution)) throw format(`${layer} is no plain convolution, so this is another network`);
    const shape = { out: numberField(message, CONVOLUTION.out) ?? 0, in: numberField(message, CONVOLUTION.in) ?? 0, height, width };
    const weights = bytesField(message, CONVOLUTION.weights) ?? Buffer.alloc(0);
    return { ...shape, weights, bias: bytesField(message, CONVOLUTION.bias) };
  }

  /** out x in x height x width to height x width x in x out. */
  function reordered({ out, in: channels, height, width, weights }: Convolution, swapped: boolean): Uint8Array {
    const area = height * width;
    const from = floats(weights, out * channels * area, 'a convolution');
    const to = new Float32Array(from.length);
    for (let o = 0; o < out; o++) {
      for (let c = 0; c < channels; c++) {
        const channel = swapped ? channels - 1 - c : c;
        for (let place = 0; place < area; place++) to[(place * channels + channel) * out + o] = from[(o * channels + c) * area + place]!;
      }
    }
    return bytesOf(to);
  }

  function numbersOf(weights: Buffer | undefined, count: number): Float32Array {
    return weights && weights.length > 0 ? floats(weights, count, 'a bias') : new Float32Array(count);
  }

  /** The numbers of a WeightParams. */
  function floats(weights: Buffer | undefined, count: number, what: string): Float32Array {
    const float32 = weights && bytesField(weights, WEIGHTS.float32);
    const float16 = weights && bytesField(weights, WEIGHTS.float16);
    const data = float32 ?? float16;
    if (!data) throw format(`${what} has neither float32 nor float16 weights`);
    const size = float32 ? 4 : 2;
    if (data.length !== count * size) throw corrupt(`${what} needs ${count} numbers, got ${data.length / size}`);
    // A copy, as the message's bytes need not be aligned.
    const bytes = float32 ? Uint8Array.from(float32) : toFloat32({ dtype: 'F16', shape: [count], data }, what);
    return new Float32Array(bytes.buffer, bytes.byteOffset, elementCount([count]));
  }

  /** The authors' network reads 0 to 255 as they are. */
  function requirePlain(preprocessing: Buffer): void {
    const scaler = bytesField(preprocessing, SCALER.scaler);
    const number = (field: number) => (scaler && bytesField(scaler, field)?.readFloatLE()) ?? 0;
    const scale = number(SCALER.channelScale);
    if (bytesField(preprocessing, SCALER.meanImage) || SCALER.biases.some((field) => number(field) !== 0) || (scale !== 0 && scale !== 1)) {
      throw format('its preprocessing changes the pixels, which the authors\' network reads as they are');
    }
  }
}

/** Whether the first picture among the inputs is read with blue first. */
function readsBgr(description: Buffer | undefined): boolean {
  for (const { number, value } of fields(description ?? Buffer.alloc(0))) {
    if (number !== 1 || typeof value === 'number') continue; // ModelDescription.input
    const type = bytesField(value, 3); // FeatureDescription.type
    const image = type && bytesField(type, 4); // FeatureType.imageType
    if (image) return numberField(image, 3) === BGR; // ImageFeatureType.colorSpace
  }
  return false;
}

function bytesOf(numbers: Float32Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}
