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

export interface Structure<L extends Layer> {
  /** The authors' layer to this file's convolution. */
  convolutions: Map<string, L>;
  /** Convolution to what scales and shifts its result alone, in that order. */
  after: Map<L, L[]>;
  /** The same for the four convolutions of an up-projection's branch once they are interleaved, by the first of them. */
  afterBranch: Map<L, L[]>;
}

const QUARTERS = ['ConvA', 'ConvB', 'ConvC', 'ConvD'];

/**
 * Finds the authors' layers in a file that calls them otherwise: by the shapes of the kernels, the order of the layers, which
 * in Core ML is one in which they can be computed, and by what feeds what where these two leave a choice. Layers that are not
 * found are left out.
 */
export function findLayers<L extends Layer>(layers: readonly L[]): Structure<L> {
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
  const wanted = fcrnVariables().flatMap(({ name, shape }) => (name.endsWith('/weights') ? [{ layer: name.slice(0, -'/weights'.length), shape }] : []));
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
