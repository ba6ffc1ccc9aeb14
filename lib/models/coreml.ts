import { FaissVisionError } from '../error';
import { type Layer, lookUp } from './coreml-structure';
import { fcrnVariables } from './fcrn-variables';
import { bytesField, fields, numberField, numberFields } from './protobuf';
import { type SourceTensors, toFloat32 } from './source';
import { elementCount } from './tensor';

// Numbers of fields in Core ML's Model.proto, FeatureTypes.proto and NeuralNetwork.proto.
const MODEL = { description: 2, regressor: 303, classifier: 403, network: 500 };
const NETWORK = { layers: 1, preprocessing: 2 };
const SCALER = { scaler: 10, meanImage: 11, channelScale: 10, biases: [20, 21, 22, 30] };
const LAYER = { name: 1, input: 2, output: 3, convolution: 100, batchnorm: 160, scale: 245, bias: 250 };
const CONVOLUTION = { out: 1, in: 2, groups: 10, kernelSize: 20, deconvolution: 60, weights: 90, bias: 91 };
const NORM = { epsilon: 10, gamma: 15, beta: 16, mean: 17, variance: 18 };
const SCALE = { scale: 2, hasBias: 3, bias: 5 };
const BIAS = { bias: 2 };
const WEIGHTS = { float32: 1, float16: 2 };
const BGR = 30;

/** What the authors' network adds to a variance before its root. */
const EPSILON = 1e-4;

interface CoreMlLayer extends Layer {
  convolution: Convolution | undefined;
  norm: Buffer | undefined;
  scale: Buffer | undefined;
  bias: Buffer | undefined;
}

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
 * Reads FCRN out of Apple's Core ML format (a Model with a NeuralNetwork), in float32 or float16: layers under the authors'
 * names or, where those are not there, by their place in the network. A batch norm of another epsilon, one that was taken apart
 * into scales and biases, or one that was folded into its convolution, is turned into an equal one.
 *
 * @param name names the file in errors
 * @throws ERR_WEIGHTS_CORRUPT, ERR_WEIGHTS_FORMAT, ERR_WEIGHTS_MISMATCH
 */
export function readCoreMl(file: Buffer, name: string): SourceTensors {
  const corrupt = (what: string, cause?: unknown) => new FaissVisionError('ERR_WEIGHTS_CORRUPT', `${name}: ${what}`, { cause });
  const format = (what: string) => new FaissVisionError('ERR_WEIGHTS_FORMAT', `${name}: ${what}`);
  const layers: CoreMlLayer[] = [];
  let bgr = false;
  try {
    const network = bytesField(file, MODEL.network) ?? bytesField(file, MODEL.regressor) ?? bytesField(file, MODEL.classifier);
    if (!network) throw format('a Core ML model without a neural network of layers');
    bgr = readsBgr(bytesField(file, MODEL.description));
    for (const { number, value } of fields(network)) {
      if (typeof value === 'number') continue;
      if (number === NETWORK.preprocessing) requirePlain(value);
      if (number === NETWORK.layers) layers.push(readLayer(value));
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
    const { convolutionOf, affineOf } = lookUp(layers);
    const plain = layers.every(({ norm, scale }) => !norm && !scale); // all norms are folded into their convolutions
    let last: { layer: CoreMlLayer | undefined; biased: boolean } | undefined;
    for (const { name: variable } of variables) {
      const [layer, parameter] = variable.split('/') as [string, string];
      const from = convolutionOf(layer);
      if (parameter === 'weights') {
        // An up-projection's four convolutions share one norm; those have biases of their own, so `last` may be any of them.
        last = { layer: from, biased: wanted.has(`${layer}/biases`) };
        if (!from?.convolution) continue; // said to be missing by whoever asks for it
        const { convolution } = from;
        const { height, width, in: channels, out } = convolution;
        add(variable, [height, width, channels, out], () => reordered(convolution, layer === 'conv1' && bgr));
      } else if (parameter === 'biases') {
        if (from?.convolution) addBiases(variable, from, layer);
      } else if (parameter === 'mean') {
        if (last?.layer?.convolution) addNorm(layer, last.layer, last.biased);
      }
    }
    return found;

    function addBiases(variable: string, { convolution }: CoreMlLayer, layer: string): void {
      const { out, bias } = convolution!;
      add(variable, [out], () => {
        // What stands alone behind a convolution whose norm comes only after the interleaving, or that has none.
        const { scale, offset } = composed(affineOf(layer, false), out);
        if (scale.some((value) => value !== 1)) throw format(`${layer} is scaled before its norm, so this is another network`);
        const biases = numbersOf(bias, out);
        return bytesOf(biases.map((value, i) => value + offset[i]!));
      });
    }

    function addNorm(layer: string, { convolution }: CoreMlLayer, biased: boolean): void {
      const channels = convolution!.out;
      const affine = affineOf(layer, true);
      if (affine.length === 0 && !plain) return; // the file has norms, but not this one
      // Where the authors' layer has no bias and this one has, the bias is taken into the norm.
      const bias = () => numbersOf(biased ? undefined : convolution!.bias, channels);
      const put = (parameter: string, numbers: () => Float32Array) => add(`${layer}/${parameter}`, [channels], () => bytesOf(numbers()));
      const norm = affine.length === 1 ? affine[0]!.norm : undefined;
      if (!norm) {
        put('mean', () => new Float32Array(channels));
        put('variance', () => new Float32Array(channels).fill(1 - EPSILON));
        put('scale', () => Float32Array.from(composed(affine, channels).scale));
        put('offset', () => {
          const { scale, offset } = composed(affine, channels);
          const biases = bias();
          return Float32Array.from(offset, (value, i) => value + scale[i]! * biases[i]!);
        });
        return;
      }
      const { mean, variance, scale, offset, epsilon } = normOf(norm, channels, layer);
      // Theirs + their epsilon = ours + ours. An epsilon that is ours as a float32 changes nothing.
      const more = epsilon === Math.fround(EPSILON) ? 0 : epsilon - EPSILON;
      put('mean', () => {
        const biases = bias();
        return mean().map((value, i) => value - biases[i]!);
      });
      put('variance', () => variance().map((value) => value + more));
      put('scale', scale);
      put('offset', offset);
    }
  }

  /** What layers make of x together: scale x + offset. */
  function composed(affine: readonly CoreMlLayer[], channels: number): { scale: number[]; offset: number[] } {
    const [scale, offset] = [new Array<number>(channels).fill(1), new Array<number>(channels).fill(0)];
    const then = (factor: (i: number) => number, shift: (i: number) => number) => {
      for (let i = 0; i < channels; i++) {
        offset[i] = offset[i]! * factor(i) + shift(i);
        scale[i]! *= factor(i);
      }
    };
    for (const layer of affine) {
      if (layer.norm) {
        const norm = normOf(layer.norm, channels, layer.name);
        const [gamma, beta, mean, variance] = [norm.scale(), norm.offset(), norm.mean(), norm.variance()];
        const factor = (i: number) => gamma[i]! / Math.sqrt(variance[i]! + norm.epsilon);
        then(factor, (i) => beta[i]! - mean[i]! * factor(i));
      } else if (layer.scale) {
        const factors = perChannel(bytesField(layer.scale, SCALE.scale), channels, layer.name);
        const shifts = numberField(layer.scale, SCALE.hasBias) ? perChannel(bytesField(layer.scale, SCALE.bias), channels, layer.name) : undefined;
        then((i) => factors[i]!, (i) => shifts?.[i] ?? 0);
      } else if (layer.bias) {
        const shifts = perChannel(bytesField(layer.bias, BIAS.bias), channels, layer.name);
        then(() => 1, (i) => shifts[i]!);
      }
    }
    return { scale, offset };
  }

  function normOf(norm: Buffer, channels: number, layer: string) {
    const parameter = (number: number) => () => floats(bytesField(norm, number), channels, layer);
    return {
      mean: parameter(NORM.mean),
      variance: parameter(NORM.variance),
      scale: parameter(NORM.gamma),
      offset: parameter(NORM.beta),
      epsilon: bytesField(norm, NORM.epsilon)?.readFloatLE() ?? 0,
    };
  }

  function readLayer(message: Buffer): CoreMlLayer {
    const name = bytesField(message, LAYER.name)?.toString('utf8') ?? '';
    const texts = (number: number) => [...fields(message)].flatMap((field) => (field.number === number ? [String(field.value)] : []));
    const [kernel, norm, scale, bias] = [LAYER.convolution, LAYER.batchnorm, LAYER.scale, LAYER.bias].map((number) => bytesField(message, number));
    const convolution = kernel && readConvolution(kernel, name);
    return {
      name,
      inputs: texts(LAYER.input),
      outputs: texts(LAYER.output),
      ...(convolution ? { kernel: [convolution.height, convolution.width, convolution.in, convolution.out] } : {}),
      affine: (norm ?? scale ?? bias) !== undefined,
      convolution,
      norm,
      scale,
      bias,
    };
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

  /** One number for each channel, or one for all. */
  function perChannel(weights: Buffer | undefined, channels: number, what: string): Float32Array {
    const one = (weights && (bytesField(weights, WEIGHTS.float32)?.length ?? 2 * (bytesField(weights, WEIGHTS.float16)?.length ?? 0))) === 4;
    return one ? new Float32Array(channels).fill(floats(weights, 1, what)[0]!) : floats(weights, channels, what);
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
