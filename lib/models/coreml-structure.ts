import { fcrnVariables } from './fcrn-variables';

/** A layer of a Core ML NeuralNetwork, as far as it matters for finding the authors' layers. */
export interface Layer {
  name: string;
  inputs: readonly string[];
  outputs: readonly string[];
  /** Of a convolution: height, width, in, out. */
  kernel?: readonly number[];
  /** Whether it scales or shifts each channel: a batch norm, a scale, a bias. */
  affine: boolean;
}

/** The authors' layers in a file. */
export interface Lookup<L extends Layer> {
  /** The convolution that the authors call so. */
  convolutionOf(layer: string): L | undefined;
  /** What scales and shifts in place of an authors' norm, or (`norm` false) alone behind one of their convolutions that no norm follows at once. */
  affineOf(layer: string, norm: boolean): readonly L[];
}

interface Structure<L extends Layer> {
  /** The authors' layer to this file's convolution. */
  convolutions: Map<string, L>;
  /** Convolution to what scales and shifts its result alone, in that order. */
  after: Map<L, L[]>;
  /** The same for the four convolutions of an up-projection's branch once they are interleaved. */
  afterBranch: Map<L, L[]>;
}

const QUARTERS = ['ConvA', 'ConvB', 'ConvC', 'ConvD'];

/** By the authors' names where the file has any of them, else by the layers' place in the network. */
export function lookUp<L extends Layer>(layers: readonly L[]): Lookup<L> {
  const theirs = new Set(fcrnVariables().map(({ name }) => name.slice(0, name.indexOf('/'))));
  theirs.delete('conv1'); // as many networks have
  if (!layers.some(({ name }) => theirs.has(name))) return byPlace(findLayers(layers));
  const named = (wanted: (layer: L) => boolean) => new Map(layers.filter(wanted).map((layer) => [layer.name, layer]));
  const convolutions = named(({ kernel }) => kernel !== undefined);
  const norms = named(({ affine }) => affine);
  return {
    convolutionOf: (layer) => convolutions.get(layer),
    affineOf: (layer) => (norms.has(layer) ? [norms.get(layer)!] : []),
  };
}

function byPlace<L extends Layer>({ convolutions, after, afterBranch }: Structure<L>): Lookup<L> {
  return {
    convolutionOf: (layer) => convolutions.get(layer),
    affineOf(layer, norm) {
      const branch = /_br[12]_/.test(layer);
      if (!norm && !branch && layer !== 'ConvPred') return [];
      const convolution = convolutions.get(norm ? convolutionBefore(layer) : layer);
      return (convolution && (norm && branch ? afterBranch : after).get(convolution)) ?? [];
    },
  };
}

/** The authors' convolution that one of their norms follows; of a branch's four the first. */
function convolutionBefore(norm: string): string {
  if (norm === 'bn_conv1') return 'conv1';
  if (norm === 'layer1_BN') return 'layer1';
  if (norm.startsWith('bn')) return norm.replace('bn', 'res');
  return norm.replace(/_BN$/, /_br[12]_/.test(norm) ? '_ConvA' : '_Conv');
}

/**
 * Finds the authors' layers in a file that calls them otherwise: by the shapes of the kernels, the order of the layers, which
 * in Core ML is one in which they can be computed, and by what feeds what where these two leave a choice. Layers that are not
 * found are left out.
 */
function findLayers<L extends Layer>(layers: readonly L[]): Structure<L> {
  // Of every blob, and of every convolution's input: the convolutions behind which it comes with no other between.
  const behind = new Map<string, Set<L>>();
  const origins = new Map<L, Set<L>>();
  const after = new Map<L, L[]>();
  const afterBranch = new Map<L, L[]>();
  for (const layer of layers) {
    const from = new Set(layer.inputs.flatMap((input) => [...(behind.get(input) ?? [])]));
    if (layer.kernel) origins.set(layer, from);
    const [first] = from;
    if (layer.affine && first && from.size === 1) after.set(first, [...(after.get(first) ?? []), layer]);
    if (layer.affine && first && from.size === QUARTERS.length) {
      for (const part of from) afterBranch.set(part, [...(afterBranch.get(part) ?? []), layer]);
    }
    for (const output of layer.outputs) behind.set(output, layer.kernel ? new Set([layer]) : from);
  }
  return { convolutions: named([...origins.keys()], origins), after, afterBranch };
}

function named<L extends Layer>(convolutions: readonly L[], origins: ReadonlyMap<L, ReadonlySet<L>>): Map<string, L> {
  const kernels = fcrnVariables().filter(({ name }) => name.endsWith('/weights'));
  const wanted = kernels.map(({ name, shape }) => ({ layer: name.slice(0, -'/weights'.length), shape }));
  const found = new Map<string, L>();
  for (const key of new Set(wanted.map(({ shape }) => shape.join()))) {
    const names = wanted.filter(({ shape }) => shape.join() === key).map(({ layer }) => layer);
    const same = convolutions.filter(({ kernel }) => kernel!.join() === key);
    if (same.length === names.length) names.forEach((name, i) => found.set(name, same[i]!));
  }
  // Where a block branches either branch may stand first; these have kernels of the same shape.
  const comesFrom = (name: string, origin: string) => origins.get(found.get(name)!)?.has(found.get(origin)!) === true;
  const stage = ['res2a_branch1', 'res2a_branch2c', 'res2b_branch2c', 'res2c_branch2c'];
  const shortcut = stage.findIndex((name) => comesFrom(name, 'conv1'));
  if (shortcut > 0) {
    const inOrder = stage.map((name) => found.get(name)!);
    inOrder.unshift(...inOrder.splice(shortcut, 1));
    stage.forEach((name, i) => found.set(name, inOrder[i]!));
  }
  for (const layer of ['layer2x', 'layer4x', 'layer8x', 'layer16x']) {
    for (const quarter of QUARTERS) {
      const [one, other] = [`${layer}_br1_${quarter}`, `${layer}_br2_${quarter}`] as const;
      const [first, second] = [found.get(one), found.get(other)];
      if (first && second && comesFrom(`${layer}_Conv`, other)) found.set(one, second).set(other, first);
    }
  }
  return found;
}
