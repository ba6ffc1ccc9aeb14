import { downloadsFolder, modelsFolder, photosFolder } from './cache';
import { MANIFEST } from './manifest';
import { ensureOutputs } from './outputs';
import type { OnProgress, Progress } from './progress';

export interface InstallOptions {
  /** Called at every step; see `Progress`. */
  onProgress?: OnProgress;
}

/**
 * Makes sure that the weights of MTCNN and resnet128 are in the models folder (`modelsFolder()`), fetching and
 * converting what is missing, changed or outdated. Takes milliseconds where all is there.
 *
 * @returns the models folder
 * @throws ERR_MODEL_DOWNLOAD, ERR_MODEL_CHECKSUM, ERR_MODEL_LOCKED
 */
export async function ensureModels({ onProgress = () => {} }: InstallOptions = {}): Promise<string> {
  const folder = modelsFolder();
  await ensureOutputs({ outputs: MANIFEST.models, packages: MANIFEST.packages, folder, downloads: downloadsFolder(), onProgress });
  return folder;
}

/** The same for the photos of the demo and the tests. Returns the photos folder. */
export async function ensurePhotos({ onProgress = () => {} }: InstallOptions = {}): Promise<string> {
  const folder = photosFolder();
  await ensureOutputs({ outputs: MANIFEST.photos, packages: MANIFEST.packages, folder, downloads: downloadsFolder(), onProgress });
  return folder;
}

/** One line for a step, for a person to read. */
function lineOf({ step, file, done, total, reason }: Progress): string {
  const count = total === undefined ? '' : ` (${done} of ${total})`;
  switch (step) {
    case 'wait':
      return `waiting: another process is at work in ${file}`;
    case 'download':
      return `downloading ${file}`;
    case 'fetched':
      return `fetched ${file}${count}`;
    case 'retry':
      return `try ${done} of ${total} failed: ${reason}`;
    case 'damaged':
      return `${file} is damaged and will be made again: ${reason}`;
    case 'write':
      return `wrote ${file}${count}`;
  }
}

async function main(args: string[]): Promise<void> {
  const unknown = args.find((argument) => argument !== '--photos');
  if (unknown !== undefined) {
    console.error(`unknown argument ${unknown}\nusage: node install.js [--photos]`);
    process.exitCode = 2;
    return;
  }

  const { stdout } = process;
  const clear = stdout.isTTY ? '\r\x1b[K' : '';
  const started = performance.now();
  let waitingFor = '';
  // A package's client says nothing until it is done, so in a terminal the seconds show that something still happens.
  const clock = stdout.isTTY ? setInterval(showTime, 200) : undefined;
  function showTime(): void {
    if (waitingFor) stdout.write(`${clear}${waitingFor} ... ${((performance.now() - started) / 1000).toFixed(1)} s`);
  }
  const onProgress: OnProgress = (progress) => {
    const line = lineOf(progress);
    waitingFor = progress.step === 'download' || progress.step === 'wait' ? line : '';
    stdout.write(`${clear}${line}${waitingFor && stdout.isTTY ? '' : '\n'}`);
  };
  try {
    await ensureModels({ onProgress });
    if (args.includes('--photos')) await ensurePhotos({ onProgress });
    const folders = args.includes('--photos') ? `models are in ${modelsFolder()}, photos in ${photosFolder()}` : `models are in ${modelsFolder()}`;
    stdout.write(`${clear}${folders}\n`);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    console.error(`${clear}${code ?? 'error'}: ${message}`);
    process.exitCode = 1;
  } finally {
    clearInterval(clock);
  }
}

if (require.main === module) void main(process.argv.slice(2));
