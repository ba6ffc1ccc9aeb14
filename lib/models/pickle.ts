import { FaissVisionError } from '../error';

/** A name that a pickle imports; `call` builds what Python's function of that name would have returned. */
export class Global {
  constructor(
    readonly name: string,
    readonly call?: (args: unknown[]) => unknown,
  ) {}
}

/** What a `call` may return where Python's object gets its content afterwards, by `__setstate__`. */
export abstract class Stateful {
  abstract setState(state: unknown): void;
}

export interface UnpickleOptions {
  /** The only names that the pickle may import, as `module.name`. */
  globals: ReadonlyMap<string, Global>;
  /** Answers the pickle's references to what lies outside of it. */
  persistentLoad: (id: unknown) => unknown;
  /** Names the file in errors. */
  name: string;
}

const MARK = Symbol('mark');

/** A network of a thousand tensors takes some 50,000. Each may make an object, so that a file of a few megabytes could ask for all memory. */
const MOST_INSTRUCTIONS = 2 ** 20;

// Opcodes that import a class or make an instance in a way that no state dict needs.
const UNSAFE_OPCODES = new Map([
  [0x69, 'INST'],
  [0x6f, 'OBJ'],
  [0x81, 'NEWOBJ'],
  [0x92, 'NEWOBJ_EX'],
  [0x82, 'EXT1'],
  [0x83, 'EXT2'],
  [0x84, 'EXT4'],
]);

/**
 * Reads one pickle out of `bytes` from `offset` (Python's pickletools documents the opcodes; PyTorch writes protocol 2
 * and up). Nothing is ever executed: names come from `globals` alone and everything else is refused by name.
 * Python's dict becomes a Map, list and tuple an Array, int a number, or a bigint beyond 2^53.
 *
 * @returns the value and the offset after the pickle
 * @throws ERR_WEIGHTS_UNSAFE for a name or an opcode that is not allowed
 * @throws ERR_WEIGHTS_CORRUPT where the pickle is cut short or makes no sense
 */
export function unpickle(bytes: Uint8Array, offset: number, options: UnpickleOptions): { value: unknown; end: number } {
  const reader = new Unpickler(bytes, offset, options);
  try {
    return reader.run();
  } catch (error) {
    if (error instanceof RangeError) {
      throw new FaissVisionError('ERR_WEIGHTS_CORRUPT', `${options.name}: the pickle is cut short at byte ${bytes.byteLength}`, {
        cause: error,
      });
    }
    throw error;
  }
}

class Unpickler {
  readonly #bytes: Buffer;
  readonly #options: UnpickleOptions;
  readonly #memo = new Map<number, unknown>();
  readonly #stack: unknown[] = [];
  #at: number;

  constructor(bytes: Uint8Array, offset: number, options: UnpickleOptions) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = offset;
    this.#options = options;
  }

  run(): { value: unknown; end: number } {
    for (let i = 0; i < MOST_INSTRUCTIONS; i++) {
      const opcode = this.#byte();
      if (opcode === 0x2e) return { value: this.#pop(), end: this.#at }; // STOP
      this.#step(opcode);
    }
    this.#corrupt(`the pickle has more than ${MOST_INSTRUCTIONS} instructions`);
  }

  #step(opcode: number): void {
    switch (opcode) {
      case 0x80: // PROTO
        if (this.#byte() > 5) this.#corrupt('the pickle says a protocol beyond 5');
        return;
      case 0x95: // FRAME
        this.#take(8);
        return;
      case 0x28: // MARK
        return this.#push(MARK);

      case 0x4e: // NONE
        return this.#push(null);
      case 0x88: // NEWTRUE
        return this.#push(true);
      case 0x89: // NEWFALSE
        return this.#push(false);
      case 0x4b: // BININT1
        return this.#push(this.#byte());
      case 0x4d: // BININT2
        return this.#push(this.#take(2).readUInt16LE());
      case 0x4a: // BININT
        return this.#push(this.#take(4).readInt32LE());
      case 0x8a: // LONG1
        return this.#push(this.#long(this.#byte()));
      case 0x8b: // LONG4
        return this.#push(this.#long(this.#take(4).readUInt32LE()));
      case 0x47: // BINFLOAT
        return this.#push(this.#take(8).readDoubleBE());

      case 0x58: // BINUNICODE
        return this.#push(this.#take(this.#take(4).readUInt32LE()).toString('utf8'));
      case 0x8c: // SHORT_BINUNICODE
        return this.#push(this.#take(this.#byte()).toString('utf8'));
      case 0x8d: // BINUNICODE8
        return this.#push(this.#take(Number(this.#take(8).readBigUInt64LE())).toString('utf8'));
      case 0x54: // BINSTRING, Python 2's str
        return this.#push(this.#take(this.#take(4).readUInt32LE()).toString('latin1'));
      case 0x55: // SHORT_BINSTRING
        return this.#push(this.#take(this.#byte()).toString('latin1'));
      case 0x42: // BINBYTES
        return this.#push(this.#take(this.#take(4).readUInt32LE()));
      case 0x43: // SHORT_BINBYTES
        return this.#push(this.#take(this.#byte()));
      case 0x8e: // BINBYTES8
        return this.#push(this.#take(Number(this.#take(8).readBigUInt64LE())));

      case 0x5d: // EMPTY_LIST
      case 0x29: // EMPTY_TUPLE
        return this.#push([]);
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        return this.#push(this.#popMany(opcode - 0x84));
      case 0x74: // TUPLE
        return this.#push(this.#sinceMark());
      case 0x61: // APPEND
        return this.#append(this.#popMany(1));
      case 0x65: // APPENDS
        return this.#append(this.#sinceMark());
      case 0x7d: // EMPTY_DICT
        return this.#push(new Map());
      case 0x73: // SETITEM
        return this.#setItems(this.#popMany(2));
      case 0x75: // SETITEMS
        return this.#setItems(this.#sinceMark());

      case 0x71: // BINPUT
        this.#memo.set(this.#byte(), this.#top());
        return;
      case 0x72: // LONG_BINPUT
        this.#memo.set(this.#take(4).readUInt32LE(), this.#top());
        return;
      case 0x94: // MEMOIZE
        this.#memo.set(this.#memo.size, this.#top());
        return;
      case 0x68: // BINGET
        return this.#push(this.#remembered(this.#byte()));
      case 0x6a: // LONG_BINGET
        return this.#push(this.#remembered(this.#take(4).readUInt32LE()));

      case 0x63: // GLOBAL
        return this.#push(this.#import(this.#line(), this.#line()));
      case 0x93: // STACK_GLOBAL
        return this.#stackGlobal();
      case 0x51: // BINPERSID
        return this.#push(this.#options.persistentLoad(this.#pop()));
      case 0x52: // REDUCE
        return this.#reduce();
      case 0x62: // BUILD
        return this.#build();
      default:
        this.#refuse(opcode);
    }
  }

  /** Calls an allowed function: it is one of ours, and its arguments are plain values. */
  #reduce(): void {
    const [callee, args] = this.#popMany(2);
    if (!(callee instanceof Global)) this.#corrupt('the pickle calls something that is not a name');
    if (!callee.call) this.#unsafe(`${callee.name}(...)`);
    if (!Array.isArray(args)) this.#corrupt(`the pickle calls ${callee.name} without a tuple of arguments`);
    this.#push(callee.call(args));
  }

  /**
   * Gives an object of ours its content, or sets attributes: a state dict has one, `_metadata`, with version numbers; no
   * weight depends on it, so it is dropped.
   */
  #build(): void {
    const state = this.#pop();
    const object = this.#top();
    if (object instanceof Stateful) object.setState(state);
    else if (!(object instanceof Map)) this.#unsafe('attributes of something that is not a dict');
  }

  #stackGlobal(): void {
    const [module, name] = this.#popMany(2);
    // A list as text could be longer than any memory, as its parts may be one another's.
    if (typeof module !== 'string' || typeof name !== 'string') this.#corrupt('the pickle imports something that is not a name');
    this.#push(this.#import(module, name));
  }

  #import(module: string, name: string): Global {
    const wanted = `${module}.${name}`;
    return this.#options.globals.get(wanted) ?? this.#unsafe(wanted);
  }

  #refuse(opcode: number): never {
    const hex = `0x${opcode.toString(16).padStart(2, '0')}`;
    if (opcode === 0x69) this.#unsafe(`${this.#line()}.${this.#line()}`);
    const unsafe = UNSAFE_OPCODES.get(opcode);
    if (unsafe) this.#unsafe(`the opcode ${unsafe}`);
    this.#corrupt(`byte ${this.#at - 1} has the opcode ${hex}, which no state dict uses`);
  }

  #append(items: unknown[]): void {
    const list = this.#top();
    if (!Array.isArray(list)) this.#corrupt('the pickle appends to something that is not a list');
    for (const item of items) list.push(item);
  }

  #setItems(items: unknown[]): void {
    const dict = this.#top();
    if (!(dict instanceof Map) || items.length % 2 !== 0) this.#corrupt('the pickle sets items of something that is not a dict');
    for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1]);
  }

  #push(value: unknown): void {
    this.#stack.push(value);
  }

  #sinceMark(): unknown[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) this.#corrupt('the pickle closes a group that it never opened');
    const items = this.#stack.splice(mark);
    items.shift();
    return items;
  }

  #popMany(count: number): unknown[] {
    if (this.#stack.length < count) this.#corrupt('the pickle takes from an empty stack');
    const items = this.#stack.splice(this.#stack.length - count);
    if (items.includes(MARK)) this.#corrupt('the pickle takes more than its group holds');
    return items;
  }

  #pop(): unknown {
    return this.#popMany(1)[0];
  }

  #top(): unknown {
    const top = this.#stack.at(-1);
    if (top === undefined || top === MARK) this.#corrupt('the pickle looks at an empty stack');
    return top;
  }

  #remembered(slot: number): unknown {
    if (!this.#memo.has(slot)) this.#corrupt(`the pickle recalls slot ${slot}, which it never filled`);
    return this.#memo.get(slot);
  }

  /** A little-endian two's complement integer. */
  #long(length: number): number | bigint {
    if (length > 64) this.#corrupt(`the pickle has an integer of ${length} bytes`);
    const hex = Buffer.from(this.#take(length)).reverse().toString('hex');
    const value = length === 0 ? 0n : BigInt.asIntN(length * 8, BigInt(`0x${hex}`));
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  #byte(): number {
    return this.#take(1).readUInt8();
  }

  #take(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw new RangeError('beyond the end');
    const taken = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw new RangeError('beyond the end');
    const line = this.#take(end - this.#at).toString('utf8');
    this.#at = end + 1;
    return line;
  }

  #unsafe(what: string): never {
    const allowed = [...this.#options.globals.keys()].join(', ');
    throw new FaissVisionError(
      'ERR_WEIGHTS_UNSAFE',
      `${this.#options.name}: the pickle wants ${what.slice(0, 200)}, which is not allowed in a weights file (nothing was executed). ` +
        `Allowed: ${allowed}`,
    );
  }

  #corrupt(what: string): never {
    throw new FaissVisionError('ERR_WEIGHTS_CORRUPT', `${this.#options.name}: ${what}`);
  }
}
