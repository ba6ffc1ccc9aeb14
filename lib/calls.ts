import { FaissVisionError } from './error';

/** The calls on one object with a native half: `close` waits for those that have a picture to decode before native code hears of them. */
export class Calls {
  readonly #what: string;
  // Counted and not kept in a Set: V8 links what a Set outgrew to what it has now, so that the short collections free neither.
  #underWay = 0;
  #closed = false;
  #over: (() => void) | undefined;

  /** @param what the object, as messages name it */
  constructor(what: string) {
    this.#what = what;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    this.checkOpen();
    this.#underWay++;
    try {
      return await work();
    } finally {
      if (--this.#underWay === 0) this.#over?.();
    }
  }

  /** Refuses every later call, and resolves once none is under way. */
  async close(): Promise<void> {
    this.checkOpen();
    this.#closed = true;
    if (this.#underWay > 0) await new Promise<void>((over) => (this.#over = over));
  }

  /** @throws ERR_CLOSED */
  checkOpen(): void {
    if (this.#closed) throw new FaissVisionError('ERR_CLOSED', `this ${this.#what} was closed`);
  }
}

/** So many at a time, first come, first served. */
export class Places {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** Does what holds a place from its `turn` on, which it waits for if it needs one, until it is over. */
  async hold<T>(work: (turn: () => Promise<void>) => Promise<T>): Promise<T> {
    let held = false;
    const turn = async () => {
      if (this.#free > 0) this.#free--;
      else await new Promise<void>((go) => this.#waiting.push(go));
      held = true;
    };
    try {
      return await work(turn);
    } finally {
      if (held) this.#giveBack();
    }
  }

  #giveBack(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}
