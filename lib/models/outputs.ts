import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { FaissVisionError } from '../error';
import { makeOutput } from './convert';
import { ensurePackage } from './fetch';
import { type Fingerprint, difference, fingerprint, fingerprintOf, isMissing, writeAtomically } from './files';
import { withFolderLock } from './lock';
import type { Output, SourcePackage } from './manifest';
import type { OnProgress } from './progress';

/** Remembers beside the outputs what each was when it was written. */
const RECORD = 'manifest.lock.json';

interface RecordedOutput extends Fingerprint {
  mtimeMs: number;
  /** Of the manifest's entries and the converter that made it: another one makes the file again. */
  recipe: string;
}

type Records = Record<string, RecordedOutput>;

// Raise it when the conversion of the same files would give other bytes.
const CONVERTER_VERSION = 1;

export interface EnsureOptions {
  outputs: readonly Output[];
  packages: readonly SourcePackage[];
  /** Where the outputs go. */
  folder: string;
  /** Where the packages' own files are kept. */
  downloads: string;
  onProgress: OnProgress;
}

/**
 * Makes sure that every output is in its folder, whole and made from what the manifest names now. Safe to call from
 * several processes at once and safe to be killed at any moment.
 */
export async function ensureOutputs(options: EnsureOptions): Promise<void> {
  const { folder, onProgress } = options;
  if ((await staleOutputs(options)).length === 0) return;
  await withFolderLock(folder, onProgress, async () => {
    const stale = await staleOutputs(options);
    const records = await readRecords(folder);
    const packageFolders = new Map<SourcePackage, string>();
    for (const [index, { output, reason, source }] of stale.entries()) {
      if (reason) onProgress({ step: 'damaged', file: output.file, reason });
      const files = packageFolders.get(source) ?? (await ensurePackage(source, options.downloads, onProgress));
      packageFolders.set(source, files);
      const content = await makeOutput(output.recipe, source, files);
      const target = path.join(folder, output.file);
      await fs.mkdir(path.dirname(target), { recursive: true });
      await writeAtomically(target, content, folder);
      const { mtimeMs } = await fs.stat(target);
      records[output.file] = { ...fingerprintOf(content), mtimeMs, recipe: recipeOf(output, source) };
      await writeAtomically(path.join(folder, RECORD), `${JSON.stringify(records, null, 2)}\n`);
      onProgress({ step: 'write', file: output.file, done: index + 1, total: stale.length });
    }
  });
}

interface StaleOutput {
  output: Output;
  source: SourcePackage;
  /** How the file differs from what was written; absent where it never was or comes from an older manifest. */
  reason?: string;
}

async function staleOutputs({ outputs, packages, folder }: EnsureOptions): Promise<StaleOutput[]> {
  const records = await readRecords(folder);
  const stale: StaleOutput[] = [];
  for (const output of outputs) {
    const source = packages.find(({ name }) => name === output.recipe.package);
    if (!source) throw new FaissVisionError('ERR_MODEL_MANIFEST', `${output.file}: the manifest has no package ${output.recipe.package}`);
    const record = records[output.file];
    if (record?.recipe !== recipeOf(output, source)) {
      stale.push({ output, source });
      continue;
    }
    const reason = await changeSince(record, path.join(folder, output.file));
    if (reason) stale.push({ output, source, reason });
  }
  return stale;
}

/** How a file differs from its record. Size and time of change are trusted where both are the recorded ones. */
async function changeSince(record: RecordedOutput, file: string): Promise<string | undefined> {
  const stat = await fs.stat(file).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (stat && stat.size === record.size && stat.mtimeMs === record.mtimeMs) return undefined;
  return difference(record, await fingerprint(file));
}

async function readRecords(folder: string): Promise<Records> {
  try {
    const records: unknown = JSON.parse(await fs.readFile(path.join(folder, RECORD), 'utf8'));
    return typeof records === 'object' && records !== null ? (records as Records) : {};
  } catch (error) {
    // Without a readable record everything counts as never made.
    if (isMissing(error) || error instanceof SyntaxError) return {};
    throw error;
  }
}

function recipeOf({ recipe }: Output, source: SourcePackage): string {
  return fingerprintOf(Buffer.from(JSON.stringify([CONVERTER_VERSION, recipe, source]))).sha256;
}
