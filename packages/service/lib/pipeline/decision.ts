/** Who a face is most like, where it is like somebody. */
export interface Known {
  id: string;
  name: string;
  /** Distance between the features. */
  distance: number;
}

/**
 * recognised: so many frames one after the other agree on a person. unknown: so many had nobody. replaced: so many agree on
 * another person than the one who was recognised, so it is another face now.
 */
export type Verdict = 'recognised' | 'unknown' | 'replaced';

/** One track's decision: frames one after the other have to agree, and each verdict is given once. */
export class Decision {
  readonly #frames: number;
  readonly #unknownFrames: number;
  #verdict: 'recognised' | 'unknown' | undefined;
  #person: Known | undefined;
  #run: { id: string | undefined; length: number; nearest: Known | undefined } = { id: undefined, length: 0, nearest: undefined };

  constructor(frames: number, unknownFrames: number) {
    this.#frames = frames;
    this.#unknownFrames = unknownFrames;
  }

  get verdict(): 'recognised' | 'unknown' | undefined {
    return this.#verdict;
  }

  /** Who was recognised. */
  get person(): Known | undefined {
    return this.#person;
  }

  /** Takes what one more frame shows; a verdict where this frame brings one. */
  look(known: Known | undefined): Verdict | undefined {
    const run = this.#run;
    if (run.length > 0 && run.id === known?.id) {
      run.length++;
      if (known && known.distance < run.nearest!.distance) run.nearest = known;
    } else {
      this.#run = { id: known?.id, length: 1, nearest: known };
    }
    const { length, nearest } = this.#run;
    if (nearest === undefined) {
      // Somebody who turns the head is still the same person.
      if (this.#verdict !== undefined || length < this.#unknownFrames) return undefined;
      return (this.#verdict = 'unknown');
    }
    if (this.#person?.id === nearest.id || length < this.#frames) return undefined;
    if (this.#person) return 'replaced';
    this.#person = nearest;
    return (this.#verdict = 'recognised');
  }
}
