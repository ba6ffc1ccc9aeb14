import { info as ask, type CudaInfo, type Unavailable } from '../info';
import { type Command, UsageError, exitCode, parse } from './command';
import { count, size, table } from './table';

export const info: Command = {
  name: 'info',
  summary: 'say what runs here: versions, processor features, GPUs, files',
  usage: `faiss-vision info [--json]

  --json   one JSON object on standard output

It loads both addons, and starts CUDA where there is a GPU. Exit code 0, also where there is none.`,

  run(args, io) {
    const { values, positionals } = parse(args, { json: { type: 'boolean', default: false } });
    if (positionals.length > 0) throw new UsageError(`info takes no names, got ${JSON.stringify(positionals[0])}`);
    const { version, node, search, vision, cuda } = ask();
    if (values.json) {
      io.stdout.write(`${JSON.stringify({ version, node, search, vision, cuda })}\n`);
      return Promise.resolve(exitCode.yes);
    }
    const rows = [
      ['faiss-vision', `${version}, Node ${node}`],
      ...(isThere(search)
        ? [
            ['FAISS', `${search.faiss}, ${search.simd.trim()}`],
            ['kernels', search.kernels],
            ['BLAS', `${search.blas}${search.blasKernels === '' ? '' : `, kernels for ${search.blasKernels}`}`],
            ['', `${count(search.threads, 'thread')}, ${search.file}`],
          ]
        : [['FAISS', `${search.code}: ${search.reason}`]]),
      ...(isThere(vision)
        ? [
            ['libtorch', vision.cuda === undefined ? vision.torch : `${vision.torch} for CUDA ${vision.cuda}`],
            ['', `${count(vision.threads, 'thread')}, ${vision.file}`],
          ]
        : [['libtorch', `${vision.code}: ${vision.reason}`]]),
      ['CUDA', cudaLine(cuda)],
      ...cuda.devices.map(({ device, name, capability, memory, free }) => [
        device,
        `${name}, compute capability ${capability}, ${size(free)} of ${size(memory)} free`,
      ]),
    ];
    io.stdout.write(table(['What', 'Which'], rows));
    return Promise.resolve(exitCode.yes);
  },
};

function isThere<T extends { file: string }>(part: T | Unavailable): part is T {
  return 'file' in part;
}

function cudaLine({ devices, reason, driver, runtime, cublas, architectures }: CudaInfo): string {
  const parts = [
    runtime && `built with ${runtime} for ${architectures}`,
    driver && `the driver supports ${driver}`,
    cublas && `cuBLAS ${cublas}`,
    reason === undefined ? count(devices.length, 'GPU') : `none can be used: ${reason}`,
  ];
  return parts.filter((part) => part !== undefined && part !== '').join('; ');
}
