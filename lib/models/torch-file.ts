import { FaissVisionError } from '../error';
import { Global, unpickle } from './pickle';
import type { TensorsInMemory } from './source';
import { ELEMENT_SIZE, type ElementType, type TensorMap, elementCount } from './tensor';
import { Zip } from './zip';

/** `torch.save` of PyTorch before 1.6 begins with this number, and goes on with this protocol version. */
const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;

/** A tensor's memory, named in the pickle and stored beside it. */
class Storage {
  constructor(
    readonly dtype: ElementType,
    readonly key: string,
    readonly elements: number,
  ) {}
}

/** A tensor as the pickle describes it; its numbers are cut out of the storage afterwards. */
class TensorView {
  constructor(
    readonly storage: Storage,
    readonly offset: number,
    readonly shape: number[],
    readonly stride: number[],
  ) {}
}

const STORAGE_TYPES: Record<string, ElementType> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
};

/**
 * Opens a PyTorch file that holds a state dict (`torch.save(net.state_dict(), file)`), in the zip format of PyTorch 1.6 and
 * later or in the one before. No code of the file is ever executed; see `unpickle`. A tensor's numbers are taken out, checked
 * and put in C order when they are asked for: a small file may name one large storage any number of times.
 *
 * @param name names the file in errors
 * @returns the tensors under the state dict's names and in its order
 * @throws ERR_WEIGHTS_UNSAFE where the file asks for any name beyond what a state dict needs
 * @throws ERR_WEIGHTS_CORRUPT or ERR_ARCHIVE_CORRUPT where it is cut short or damaged, as `data()` of a tensor does too
 * @throws ERR_WEIGHTS_FORMAT where it is whole and no state dict
 */
export function openTorchFile(bytes: Uint8Array, name: string): TensorsInMemory {
  const file = new TorchFile(name);
  return Zip.matches(bytes) ? file.openZip(bytes) : file.openLegacy(bytes);
}

/** All tensors of a PyTorch file of a known source; see `openTorchFile`. */
export function readTorchFile(bytes: Uint8Array, name: string): TensorMap {
  return new Map([...openTorchFile(bytes, name)].map(([key, { dtype, shape, data }]) => [key, { dtype, shape, data: data() }]));
}

class TorchFile {
  readonly #name: string;
  readonly #globals: Map<string, Global>;

  constructor(name: string) {
    this.#name = name;
    const allowed = [
      new Global('collections.OrderedDict', (args) => this.#orderedDict(args)),
      new Global('torch._utils._rebuild_tensor_v2', (args) => this.#tensorView(args)),
      new Global('torch._utils._rebuild_parameter', ([tensor]) => tensor),
      ...Object.keys(STORAGE_TYPES).map((type) => new Global(`torch.${type}`)),
    ];
    this.#globals = new Map(allowed.map((global) => [global.name, global]));
  }

  /** The zip format: `<root>/data.pkl` and one entry `<root>/data/<key>` for each storage. */
  openZip(bytes: Uint8Array): TensorsInMemory {
    const zip = new Zip(bytes, this.#name);
    const pickle = zip.names.find((entry) => /^[^/]+\/data\.pkl$/.test(entry));
    if (!pickle) this.#format('a zip archive without a data.pkl, so it was not written by torch.save');
    const root = pickle.slice(0, -'data.pkl'.length);
    if (zip.has(`${root}byteorder`)) this.#requireLittleEndian(zip.read(`${root}byteorder`).toString() === 'little');
    return this.#tensors(this.#unpickle(zip.read(pickle), 0).value, (storage) => zip.read(`${root}data/${storage.key}`));
  }

  /** The older format: five pickles (magic, protocol, system, state dict, storage keys), then the storages one by one. */
  openLegacy(bytes: Uint8Array): TensorsInMemory {
    const magic = this.#unpickle(bytes, 0);
    if (magic.value !== LEGACY_MAGIC) this.#format(`${describe(magic.value)} where torch.save writes its magic number`);
    const protocol = this.#unpickle(bytes, magic.end);
    if (protocol.value !== LEGACY_PROTOCOL) this.#format(`protocol ${describe(protocol.value)}, expected ${LEGACY_PROTOCOL}`);
    const system = this.#unpickle(bytes, protocol.end);
    this.#requireLittleEndian(system.value instanceof Map && system.value.get('little_endian') === true);
    const stateDict = this.#unpickle(bytes, system.end);
    const keys = this.#unpickle(bytes, stateDict.end);
    if (!Array.isArray(keys.value)) this.#format(`${describe(keys.value)} where the list of storages stands`);

    const offsets = this.#storageOffsets(bytes, keys.end, keys.value, this.#storagesOf(stateDict.value));
    return this.#tensors(stateDict.value, ({ key, elements, dtype }) => {
      const offset = offsets.get(key);
      if (offset === undefined) this.#corrupt(`storage ${key} is not in the file`);
      return bytes.subarray(offset, offset + elements * ELEMENT_SIZE[dtype]);
    });
  }

  /** Walks over the storages of a legacy file: each is its number of elements (int64) and then the elements. */
  #storageOffsets(bytes: Uint8Array, start: number, keys: unknown[], storages: Map<string, Storage>): Map<string, number> {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const offsets = new Map<string, number>();
    let at = start;
    for (const key of keys) {
      const storage = typeof key === 'string' ? storages.get(key) : undefined;
      if (!storage) this.#corrupt(`storage ${describe(key)} belongs to no tensor`);
      const size = storage.elements * ELEMENT_SIZE[storage.dtype];
      if (at + 8 + size > bytes.byteLength) {
        this.#corrupt(`cut short: storage ${storage.key} needs ${8 + size} bytes from byte ${at}, the file has ${bytes.byteLength}`);
      }
      const elements = view.getBigInt64(at, true);
      if (elements !== BigInt(storage.elements)) {
        this.#corrupt(`storage ${storage.key} has ${elements} elements, its tensors say ${storage.elements}`);
      }
      offsets.set(storage.key, at + 8);
      at += 8 + size;
    }
    return offsets;
  }

  #tensors(stateDict: unknown, bytesOf: (storage: Storage) => Uint8Array): TensorsInMemory {
    // Tensors that are views of one storage need not inflate and check it each.
    let last: { key: string; bytes: Uint8Array } | undefined;
    const bytes = (storage: Storage) => {
      if (last?.key !== storage.key) last = { key: storage.key, bytes: bytesOf(storage) };
      return last.bytes;
    };
    return new Map(
      [...this.#entriesOf(stateDict)].map(([name, view]) => {
        const { storage, shape } = view;
        return [name, { dtype: storage.dtype, shape, data: () => this.#cut(name, view, bytes(storage)) }];
      }),
    );
  }

  #storagesOf(stateDict: unknown): Map<string, Storage> {
    return new Map([...this.#entriesOf(stateDict).values()].map(({ storage }) => [storage.key, storage]));
  }

  #entriesOf(stateDict: unknown): Map<string, TensorView> {
    if (!(stateDict instanceof Map)) this.#format(`${describe(stateDict)}, expected a state dict (name: tensor)`);
    for (const [name, value] of stateDict) {
      if (typeof name !== 'string' || !(value instanceof TensorView)) {
        this.#format(`a dict with ${describe(name)}: ${describe(value)}, expected a state dict (name: tensor)`);
      }
    }
    return stateDict as Map<string, TensorView>;
  }

  /** The tensor's elements in C order, whatever its strides. */
  #cut(name: string, view: TensorView, storage: Uint8Array): Uint8Array {
    const { storage: { dtype, elements }, offset, shape, stride } = view;
    const size = ELEMENT_SIZE[dtype];
    if (storage.byteLength !== elements * size) {
      this.#corrupt(`the storage of ${name} has ${storage.byteLength} bytes, ${elements} elements of ${dtype} need ${elements * size}`);
    }
    const count = elementCount(shape);
    const last = shape.reduce((index, extent, axis) => index + (extent - 1) * (stride[axis] ?? 0), offset);
    // A shape larger than its storage (stride 0) would let a small file ask for any amount of memory.
    if (count > elements || (count > 0 && last >= elements)) {
      this.#corrupt(`${name} of shape [${shape.join(', ')}] and strides [${stride.join(', ')}] does not fit in ${elements} elements`);
    }
    if (count === 0 || isContiguous(shape, stride)) {
      return storage.subarray(offset * size, (offset + count) * size);
    }
    const data = new Uint8Array(count * size);
    for (let i = 0; i < count; i++) {
      let rest = i;
      let from = offset;
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        const extent = shape[axis] as number;
        from += (rest % extent) * (stride[axis] as number);
        rest = Math.floor(rest / extent);
      }
      data.set(storage.subarray(from * size, (from + 1) * size), i * size);
    }
    return data;
  }

  #unpickle(bytes: Uint8Array, offset: number): { value: unknown; end: number } {
    return unpickle(bytes, offset, {
      globals: this.#globals,
      persistentLoad: (id) => this.#storage(id),
      name: this.#name,
    });
  }

  /** `('storage', type, key, location, number of elements[, view])` */
  #storage(id: unknown): Storage {
    const [tag, type, key, , elements, view] = Array.isArray(id) ? id : [];
    const dtype = type instanceof Global ? STORAGE_TYPES[type.name.slice('torch.'.length)] : undefined;
    if (tag !== 'storage' || !dtype || typeof key !== 'string' || !isSize(elements)) {
      this.#corrupt(`the pickle refers to ${describe(id)}, expected a tensor's storage`);
    }
    if (view !== null && view !== undefined) this.#format(`storage ${key} as a view of another, which only PyTorch before 0.4 wrote`);
    return new Storage(dtype, key, elements);
  }

  /** `(storage, offset, size, stride, requires_grad, hooks)` */
  #tensorView(args: unknown[]): TensorView {
    const [storage, offset, shape, stride] = args;
    if (!(storage instanceof Storage) || !isSize(offset) || !isSizes(shape) || !isSizes(stride) || shape.length !== stride.length) {
      this.#corrupt(`the pickle builds a tensor from (${args.slice(0, 6).map(describe).join(', ')})`);
    }
    return new TensorView(storage, offset, shape, stride);
  }

  #orderedDict([items = []]: unknown[]): Map<unknown, unknown> {
    const isPair = (item: unknown): item is [unknown, unknown] => Array.isArray(item) && item.length === 2;
    if (!Array.isArray(items) || !items.every(isPair)) this.#corrupt('the pickle builds an OrderedDict from something else than pairs');
    return new Map(items);
  }

  #requireLittleEndian(isLittle: boolean): void {
    if (!isLittle) this.#format('numbers of a big-endian machine');
  }

  #corrupt(what: string): never {
    throw new FaissVisionError('ERR_WEIGHTS_CORRUPT', `${this.#name}: ${what}`);
  }

  #format(what: string): never {
    throw new FaissVisionError('ERR_WEIGHTS_FORMAT', `${this.#name} is no PyTorch state dict: it has ${what}`);
  }
}

function isContiguous(shape: number[], stride: number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && stride[axis] !== expected) return false;
    expected *= shape[axis] as number;
  }
  return true;
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** A list of sizes. No layer's tensors have nearly as many dimensions, and errors tell all of them. */
function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= 64 && value.every(isSize);
}

/** A value of a pickle in a few words, for errors. */
function describe(value: unknown): string {
  if (value instanceof TensorView) return `a tensor [${value.shape.join(', ')}]`;
  if (value instanceof Storage) return `storage ${value.key}`;
  if (value instanceof Global) return value.name;
  if (value instanceof Map) return `a dict of ${value.size}`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return String(value);
}
