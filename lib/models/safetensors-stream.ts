import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { FaissVisionError } from '../error';
import { unfinishedName } from './files';
import { ELEMENT_SIZE, type ElementType, elementCount } from './tensor';

/** A tensor whose data are made when its turn comes, so that a file never lies in memory as a whole. */
export interface StreamedTensor {
  name: string;
  dtype: ElementType;
  shape: readonly number[];
  data(): Uint8Array | Promise<Uint8Array>;
}

/**
 * Writes a safetensors file tensor by tensor, in the given order; see `encodeSafetensors` for the layout. Others see the old
 * file or the whole new one.
 *
 * @param onTensor called after each with how many are written
 */
export async function streamSafetensors(
  file: string,
  tensors: readonly StreamedTensor[],
  metadata: Record<string, string>,
  onTensor: (written: number) => void = () => {},
): Promise<void> {
  const header: [string, unknown][] = [['__metadata__', metadata]];
  let end = 0;
  for (const { name, dtype, shape } of tensors) {
    const begin = end;
    end += elementCount(shape) * ELEMENT_SIZE[dtype];
    header.push([name, { dtype, shape, data_offsets: [begin, end] }]);
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const head = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  head.writeBigUInt64LE(BigInt(head.length - 8));
  json.copy(head, 8);

  const unfinished = path.join(path.dirname(file), unfinishedName(file));
  try {
    const handle = await fs.open(unfinished, 'w');
    try {
      await handle.writeFile(head);
      for (const [i, tensor] of tensors.entries()) {
        const data = await tensor.data();
        const size = elementCount(tensor.shape) * ELEMENT_SIZE[tensor.dtype];
        if (data.byteLength !== size) {
          throw new FaissVisionError('ERR_WEIGHTS_CORRUPT', `tensor ${tensor.name} needs ${size} bytes, got ${data.byteLength}`);
        }
        await handle.writeFile(data); // goes on where the last one ended
        onTensor(i + 1);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    await fs.rename(unfinished, file);
  } catch (error) {
    await fs.rm(unfinished, { force: true });
    throw error;
  }
}
