/** A variable's name and shape. */
export interface Variable {
  name: string;
  shape: readonly number[];
}

/** The four interleaved convolutions of an up-projection: name, height and width of the kernel. */
const QUARTERS = [
  ['ConvA', 3, 3],
  ['ConvB', 2, 3],
  ['ConvC', 3, 2],
  ['ConvD', 2, 2],
] as const;

/**
 * The variables of the authors' TensorFlow network ResNet50UpProj (Laina et al. 2016) as `layer/parameter`, in the order in
 * which it makes them. Kernels are height x width x in x out.
 */
export function fcrnVariables(): Variable[] {
  const variables: Variable[] = [];
  const add = (name: string, ...shape: number[]) => variables.push({ name, shape });
  const norm = (name: string, channels: number) => {
    for (const parameter of ['mean', 'variance', 'scale', 'offset']) add(`${name}/${parameter}`, channels);
  };
  const biased = (name: string, height: number, width: number, from: number, to: number) => {
    add(`${name}/weights`, height, width, from, to);
    add(`${name}/biases`, to);
  };
  const residual = (number: string, size: number, from: number, to: number) => {
    add(`res${number}/weights`, size, size, from, to);
    norm(`bn${number}`, to);
  };

  biased('conv1', 7, 7, 3, 64);
  norm('bn_conv1', 64);
  // ResNet-50: four stages of 3, 4, 6 and 3 bottlenecks; the first of each stage widens what is carried on.
  let channels = 64;
  [3, 4, 6, 3].forEach((blocks, stage) => {
    const inner = 64 << stage;
    for (let block = 0; block < blocks; block++) {
      const number = `${stage + 2}${'abcdef'[block]}_branch`;
      if (block === 0) residual(`${number}1`, 1, channels, 4 * inner);
      residual(`${number}2a`, 1, channels, inner);
      residual(`${number}2b`, 3, inner, inner);
      residual(`${number}2c`, 1, inner, 4 * inner);
      channels = 4 * inner;
    }
  });
  biased('layer1', 1, 1, 2048, 1024);
  norm('layer1_BN', 1024);
  for (const [i, scale] of ['2x', '4x', '8x', '16x'].entries()) {
    const layer = `layer${scale}`;
    const from = 1024 >> i;
    const to = from / 2;
    const branch = (name: string) => {
      for (const [quarter, height, width] of QUARTERS) biased(`${layer}_${name}_${quarter}`, height, width, from, to);
      norm(`${layer}_${name}_BN`, to);
    };
    branch('br1');
    biased(`${layer}_Conv`, 3, 3, to, to);
    norm(`${layer}_BN`, to);
    branch('br2');
  }
  biased('ConvPred', 3, 3, 64, 1);
  return variables;
}
