import type { CoreMlLayer } from './weights-files';

const EPSILON = 1e-4;

/**
 * FCRN as a graph of Core ML layers that are called by numbers. In blocks that branch, the branch that others write last
 * comes first.
 * @param layer a convolution or batch norm by the authors' name
 * @param apart norms as a scale and a bias, and convolutions' biases as layers of their own
 */
export function fcrnGraph(layer: (name: string) => CoreMlLayer, { apart = false } = {}): CoreMlLayer[] {
  const made: CoreMlLayer[] = [];
  const put = (source: Omit<CoreMlLayer, 'name'>, ...from: string[]): string => {
    const to = `blob_${made.length}`;
    made.push({ ...source, name: `layer_${made.length}`, from, to });
    return to;
  };
  /** A ReLU, a pool, a sum, a padding: anything without numbers. */
  const other = (...from: string[]) => put({ kind: 'other', shape: [], numbers: {} }, ...from);
  const conv = (name: string, from: string) => {
    const source = layer(name);
    const { bias, ...numbers } = source.numbers;
    if (!apart || !bias) return put(source, from);
    return put({ kind: 'bias', shape: [source.shape[0]!], numbers: { bias } }, put({ ...source, numbers }, from));
  };
  const norm = (name: string, from: string) => {
    const source = layer(name);
    if (!apart) return put(source, from);
    const { shape, numbers } = source;
    const [gamma, beta, mean, variance] = ['gamma', 'beta', 'mean', 'variance'].map((key) => new Float32Array(Uint8Array.from(numbers[key]!).buffer));
    const scale = gamma!.map((value, i) => value / Math.sqrt(variance![i]! + EPSILON));
    const bias = beta!.map((value, i) => value - mean![i]! * scale[i]!);
    const scaled = put({ kind: 'scale', shape, numbers: { scale: new Uint8Array(scale.buffer) } }, from);
    return put({ kind: 'bias', shape, numbers: { bias: new Uint8Array(bias.buffer) } }, scaled);
  };
  const residual = (number: string, from: string) => norm(`bn${number}`, conv(`res${number}`, from));

  let x = other(other(norm('bn_conv1', conv('conv1', 'image'))));
  [3, 4, 6, 3].forEach((blocks, stage) => {
    for (let block = 0; block < blocks; block++) {
      const number = `${stage + 2}${'abcdef'[block]}_branch`;
      const long = residual(`${number}2c`, other(residual(`${number}2b`, other(residual(`${number}2a`, x)))));
      x = other(other(long, block === 0 ? residual(`${number}1`, x) : x));
    }
  });
  x = norm('layer1_BN', conv('layer1', x));
  for (const name of ['layer2x', 'layer4x', 'layer8x', 'layer16x']) {
    const branch = (side: string) => {
      const quarters = ['ConvA', 'ConvB', 'ConvC', 'ConvD'].map((quarter) => conv(`${name}_${side}_${quarter}`, other(x)));
      return norm(`${name}_${side}_BN`, other(other(...quarters)));
    };
    const short = branch('br2');
    x = other(other(norm(`${name}_BN`, conv(`${name}_Conv`, other(branch('br1')))), short));
  }
  other(conv('ConvPred', x));
  return made;
}
