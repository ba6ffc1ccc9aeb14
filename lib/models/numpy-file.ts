import { FaissVisionError } from '../error';
import { Global, Stateful, unpickle } from './pickle';
import type { TensorsInMemory } from './source';
import { ELEMENT_SIZE, type ElementType, elementCount } from './tensor';

const MAGIC = Buffer.from('\x93NUMPY', 'latin1');

const ELEMENT_TYPES: Record<string, ElementType> = { f2: 'F16', f4: 'F32', f8: 'F64', i4: 'I32', i8: 'I64' };

/** `numpy.dtype('f4', ...)`: the kind and size, then the byte order. */
class Dtype extends Stateful {
  bigEndian = false;

  constructor(readonly code: string) {
    super();
  }

  /** `(version, byte order, ...)` */
  setState(state: unknown): void {
    if (Array.isArray(state)) this.bigEndian = state[1] === '>';
  }
}

/** An array that numpy's `_reconstruct` has made empty and `__setstate__` fills. */
class NumpyArray extends Stateful {
  shape: number[] = [];
  dtype: Dtype | undefined;
  fortran = false;
  /** Bytes, or the objects of an array of objects. */
  content: unknown;

  /** `(version, shape, dtype, is Fortran order, content)` */
  setState(state: unknown): void {
    if (!Array.isArray(state)) return;
    const [, shape, dtype, fortran, content] = state as unknown[];
    if (Array.isArray(shape) && shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0)) this.shape = shape;
    if (dtype instanceof Dtype) this.dtype = dtype;
    this.fortran = fortran === true || fortran === 1; // Python 2 wrote a number
    // Python 2's bytes are a str, which the pickle reader gives as text of one character a byte.
    this.content = typeof content === 'string' ? Buffer.from(content, 'latin1') : content;
  }
}

export function isNumpyFile(bytes: Uint8Array): boolean {
  return MAGIC.equals(bytes.subarray(0, MAGIC.length));
}

/**
 * Reads a .npy file that holds one dictionary, layer to { parameter: array }, as `numpy.save` writes it (NEP 1) and as the
 * authors of FCRN give their weights. Nothing of the pickle in it is executed: only numpy's own names for rebuilding arrays
 * are known.
 *
 * @param name names the file in errors
 * @returns the arrays as `layer/parameter`, put in C order when they are asked for, views of `bytes` where they lie that way
 * @throws ERR_WEIGHTS_UNSAFE where the pickle asks for any other name
 * @throws ERR_WEIGHTS_CORRUPT where the file is cut short or damaged
 * @throws ERR_WEIGHTS_FORMAT where it is whole and no such dictionary
 */
export function readNumpyDictionary(bytes: Uint8Array, name: string): TensorsInMemory {
  const corrupt = (what: string) => new FaissVisionError('ERR_WEIGHTS_CORRUPT', `${name}: ${what}`);
  const format = (what: string) =>
    new FaissVisionError('ERR_WEIGHTS_FORMAT', `${name}: ${what}, expected a dictionary of layers as numpy.save writes one`);

  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!isNumpyFile(file)) throw format('no .npy file');
  const lengthBytes = file[6]! >= 2 ? 4 : 2;
  const begin = 8 + lengthBytes;
  if (file.length < begin) throw corrupt(`cut short in its header at byte ${file.length}`);
  const end = begin + file.readUIntLE(8, lengthBytes);
  if (end > file.length) throw corrupt(`cut short: its header ends at byte ${end}, the file at ${file.length}`);
  if (!/'descr':\s*'\|O'/.test(file.toString('latin1', begin, end))) throw format('an array of numbers');

  const array = [
    ...['numpy.core.multiarray._reconstruct', 'numpy._core.multiarray._reconstruct'].map((each) => new Global(each, () => new NumpyArray())),
    new Global('numpy.ndarray'),
    new Global('numpy.dtype', ([code]) => new Dtype(typeof code === 'string' ? code : '')),
  ];
  const { value } = unpickle(file, end, {
    globals: new Map(array.map((global) => [global.name, global])),
    persistentLoad: () => {
      throw corrupt('the pickle refers to something outside of it');
    },
    name,
  });

  const dictionary = value instanceof NumpyArray && Array.isArray(value.content) ? (value.content as unknown[])[0] : value;
  if (!(dictionary instanceof Map)) throw format('an array of other objects');
  const tensors: TensorsInMemory = new Map();
  for (const [layer, parameters] of dictionary as Map<unknown, unknown>) {
    if (typeof layer !== 'string' || !(parameters instanceof Map)) throw format('a dictionary of something else');
    for (const [parameter, numbers] of parameters as Map<unknown, unknown>) {
      if (typeof parameter !== 'string') throw format('a dictionary of something else');
      const variable = `${layer}/${parameter}`;
      if (!(numbers instanceof NumpyArray)) throw format(`${variable} is no array`);
      tensors.set(variable, tensorOf(numbers, variable));
    }
  }
  return tensors;

  function tensorOf({ shape, dtype, fortran, content }: NumpyArray, variable: string) {
    const type = ELEMENT_TYPES[dtype?.code ?? ''];
    if (!type || dtype?.bigEndian) throw format(`${variable} has elements of type ${dtype?.bigEndian ? 'big-endian ' : ''}${dtype?.code}`);
    const size = elementCount(shape) * ELEMENT_SIZE[type];
    if (!(content instanceof Uint8Array) || content.byteLength !== size) {
      const got = content instanceof Uint8Array ? `${content.byteLength} bytes` : 'none';
      throw corrupt(`${variable} of shape [${shape.join(', ')}] needs ${size} bytes, got ${got}`);
    }
    const data = () => (fortran && shape.length > 1 ? fromFortranOrder(content, shape, ELEMENT_SIZE[type]) : content);
    return { dtype: type, shape, data };
  }
}

/** First index fastest, to last index fastest. */
function fromFortranOrder(from: Uint8Array, shape: readonly number[], size: number): Uint8Array {
  const strides = shape.map((_, axis) => size * elementCount(shape.slice(0, axis)));
  const to = new Uint8Array(from.byteLength);
  const index = new Array<number>(shape.length).fill(0);
  for (let at = 0; at < to.byteLength; at += size) {
    const source = index.reduce((sum, i, axis) => sum + i * strides[axis]!, 0);
    for (let byte = 0; byte < size; byte++) to[at + byte] = from[source + byte]!;
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) index[axis] = 0;
  }
  return to;
}
