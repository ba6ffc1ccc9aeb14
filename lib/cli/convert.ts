import { stat } from 'node:fs/promises';
import { convertWeights } from '../models/convert-weights';
import { type Command, UsageError, exitCode, parse } from './command';
import { size } from './table';

export const convert: Command = {
  name: 'convert',
  summary: "turn a model's published weights into safetensors",
  usage: `faiss-vision convert INPUT OUTPUT.safetensors

INPUT is a PyTorch file (.pt) with the state dict of facenet-pytorch's InceptionResnetV1. Nothing of it is executed;
what is not such a state dict is refused by name. Exit code 0, or 3 where it is refused.`,

  async run(args, io) {
    const { positionals } = parse(args, {});
    const [input, output] = positionals;
    if (input === undefined || output === undefined || positionals.length !== 2) throw new UsageError(`convert takes two files, got ${positionals.length}`);
    if (!output.endsWith('.safetensors')) throw new UsageError(`the output must end in .safetensors, got ${JSON.stringify(output)}`);
    await convertWeights(input, output, () => {});
    io.stdout.write(`  wrote ${output} (${size((await stat(output)).size)})\n`);
    return exitCode.yes;
  },
};
