import { stat } from 'node:fs/promises';
import { convertWeights } from '../models/convert-weights';
import { type Command, UsageError, exitCode, parse } from './command';
import { type ProgressBar, progressBar } from './progress';
import { size } from './table';

export const convert: Command = {
  name: 'convert',
  summary: "turn a model's published weights into safetensors",
  usage: `faiss-vision convert INPUT OUTPUT.safetensors

INPUT is a model's weights as their authors give them away: FaceNet's as the .pt of facenet-pytorch, FCRN's as .npy, as a
TensorFlow checkpoint (any of its files) or as Core ML's .mlmodel. Nothing of it is executed; what is no such file is refused,
and the variable that is missing or wrong is named.
Exit code 0, or 3 where it is refused.`,

  async run(args, io) {
    const { positionals } = parse(args, {});
    const [input, output] = positionals;
    if (input === undefined || output === undefined || positionals.length !== 2) {
      throw new UsageError(`convert takes two files, got ${positionals.length}`);
    }
    if (!output.endsWith('.safetensors')) throw new UsageError(`the output must end in .safetensors, got ${JSON.stringify(output)}`);
    let bar: ProgressBar | undefined;
    try {
      const { model, variables } = await convertWeights(input, output, ({ done, total }) => {
        (bar ??= progressBar(io, 'variables', total)).update(done);
      });
      bar?.stop();
      io.stdout.write(`  wrote ${output}: ${model}, ${variables} variables, ${size((await stat(output)).size)}\n`);
    } finally {
      bar?.stop();
    }
    return exitCode.yes;
  },
};
