/**
 * Every variable of facenet-pytorch's InceptionResnetV1 without its classifier, in the order of its state dict, with
 * its shape (https://github.com/timesler/facenet-pytorch, models/inception_resnet_v1.py).
 */
export function facenetVariables(): Map<string, number[]> {
  const variables = new Map<string, number[]>();
  const norm = (name: string, channels: number) => {
    for (const part of ['weight', 'bias', 'running_mean', 'running_var']) variables.set(`${name}.${part}`, [channels]);
  };
  const basic = (name: string, from: number, to: number, height: number, width = height) => {
    variables.set(`${name}.conv.weight`, [to, from, height, width]);
    norm(`${name}.bn`, to);
  };
  /** The convolution with a bias at the end of a residual block. */
  const up = (name: string, from: number, to: number) => {
    variables.set(`${name}.conv2d.weight`, [to, from, 1, 1]);
    variables.set(`${name}.conv2d.bias`, [to]);
  };
  /** A block with one branch of 1 x 1 and one of 1 x 1, 1 x length and length x 1. */
  const longBlock = (name: string, channels: number, inner: number, length: number) => {
    basic(`${name}.branch0`, channels, inner, 1);
    basic(`${name}.branch1.0`, channels, inner, 1);
    basic(`${name}.branch1.1`, inner, inner, 1, length);
    basic(`${name}.branch1.2`, inner, inner, length, 1);
    up(name, 2 * inner, channels);
  };

  basic('conv2d_1a', 3, 32, 3);
  basic('conv2d_2a', 32, 32, 3);
  basic('conv2d_2b', 32, 64, 3);
  basic('conv2d_3b', 64, 80, 1);
  basic('conv2d_4a', 80, 192, 3);
  basic('conv2d_4b', 192, 256, 3);
  for (let i = 0; i < 5; i++) {
    const name = `repeat_1.${i}`;
    basic(`${name}.branch0`, 256, 32, 1);
    basic(`${name}.branch1.0`, 256, 32, 1);
    basic(`${name}.branch1.1`, 32, 32, 3);
    basic(`${name}.branch2.0`, 256, 32, 1);
    basic(`${name}.branch2.1`, 32, 32, 3);
    basic(`${name}.branch2.2`, 32, 32, 3);
    up(name, 96, 256);
  }
  basic('mixed_6a.branch0', 256, 384, 3);
  basic('mixed_6a.branch1.0', 256, 192, 1);
  basic('mixed_6a.branch1.1', 192, 192, 3);
  basic('mixed_6a.branch1.2', 192, 256, 3);
  for (let i = 0; i < 10; i++) longBlock(`repeat_2.${i}`, 896, 128, 7);
  basic('mixed_7a.branch0.0', 896, 256, 1);
  basic('mixed_7a.branch0.1', 256, 384, 3);
  basic('mixed_7a.branch1.0', 896, 256, 1);
  basic('mixed_7a.branch1.1', 256, 256, 3);
  basic('mixed_7a.branch2.0', 896, 256, 1);
  basic('mixed_7a.branch2.1', 256, 256, 3);
  basic('mixed_7a.branch2.2', 256, 256, 3);
  for (let i = 0; i < 5; i++) longBlock(`repeat_3.${i}`, 1792, 192, 3);
  longBlock('block8', 1792, 192, 3);
  variables.set('last_linear.weight', [512, 1792]);
  norm('last_bn', 512);
  return variables;
}
