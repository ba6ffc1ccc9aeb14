import type { Variable } from './fcrn-variables';

/** A convolution: channels out, height and width of the kernel. */
type Conv = readonly [out: number, height: number, width: number];

/**
 * The variables of facenet-pytorch's InceptionResnetV1 (Szegedy et al. 2016; FaceNet) that features are computed from, under
 * the names and in the order of its state dict. Kernels are out x in x height x width.
 */
export function facenetVariables(): Variable[] {
  const variables: Variable[] = [];
  const add = (name: string, ...shape: number[]) => variables.push({ name, shape });
  const norm = (name: string, channels: number) => {
    for (const parameter of ['weight', 'bias', 'running_mean', 'running_var']) add(`${name}.${parameter}`, channels);
  };
  const conv = (name: string, from: number, [to, height, width]: Conv): number => {
    add(`${name}.conv.weight`, to, from, height, width);
    norm(`${name}.bn`, to);
    return to;
  };
  /** One after the other, numbered, unless there is only one. Returns the channels at the end. */
  const branch = (name: string, from: number, convs: readonly Conv[]) =>
    convs.length === 1 ? conv(name, from, convs[0]!) : convs.reduce((channels, each, i) => conv(`${name}.${i}`, channels, each), from);
  /** An Inception-ResNet block: branches side by side, then a convolution back to as many channels as came. */
  const block = (name: string, channels: number, branches: readonly (readonly Conv[])[]) => {
    const together = branches.reduce((sum, convs, i) => sum + branch(`${name}.branch${i}`, channels, convs), 0);
    add(`${name}.conv2d.weight`, channels, together, 1, 1);
    add(`${name}.conv2d.bias`, channels);
  };
  const one = (channels: number): Conv => [channels, 1, 1];
  const three = (channels: number): Conv => [channels, 3, 3];

  let channels = 3;
  const stem: [string, Conv][] = [['1a', three(32)], ['2a', three(32)], ['2b', three(64)], ['3b', one(80)], ['4a', three(192)], ['4b', three(256)]];
  for (const [name, each] of stem) channels = conv(`conv2d_${name}`, channels, each);
  for (let i = 0; i < 5; i++) block(`repeat_1.${i}`, 256, [[one(32)], [one(32), three(32)], [one(32), three(32), three(32)]]);
  branch('mixed_6a.branch0', 256, [three(384)]);
  branch('mixed_6a.branch1', 256, [one(192), three(192), three(256)]);
  for (let i = 0; i < 10; i++) block(`repeat_2.${i}`, 896, [[one(128)], [one(128), [128, 1, 7], [128, 7, 1]]]);
  branch('mixed_7a.branch0', 896, [one(256), three(384)]);
  branch('mixed_7a.branch1', 896, [one(256), three(256)]);
  branch('mixed_7a.branch2', 896, [one(256), three(256), three(256)]);
  const last: readonly (readonly Conv[])[] = [[one(192)], [one(192), [192, 1, 3], [192, 3, 1]]];
  for (let i = 0; i < 5; i++) block(`repeat_3.${i}`, 1792, last);
  block('block8', 1792, last);
  add('last_linear.weight', 512, 1792);
  norm('last_bn', 512);
  return variables;
}
