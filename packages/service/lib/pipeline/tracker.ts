import { randomBytes } from 'node:crypto';
import type { Box } from '../store/events.js';

export interface Track<T> {
  /** Stays from the first to the last frame of one appearance. */
  readonly id: string;
  box: Box;
  /** Milliseconds of the frames in which it was seen first and last. */
  readonly first: number;
  last: number;
  /** Frames in which it was seen. */
  seen: number;
  /** Pixels a millisecond that its middle moves, and is expected to go on moving. */
  velocity: [number, number];
  readonly about: T;
}

/** Least overlap, intersection over union, of one face in two frames. */
const LEAST_OVERLAP = 0.2;
/** Without it: how far apart, in widths of the face, two places of one face may be. */
const MOST_DISTANCE = 0.75;
/** How much a face's width may differ then. */
const MOST_GROWTH = 1.6;
/** Weight of the newest movement in the velocity. */
const SMOOTHING = 0.5;

/**
 * Follows faces from frame to frame as SORT does (Bewley et al. 2016), without its Kalman filter: every track is moved on by its
 * velocity, then pairs of a track and a face are joined from the best on, by overlap, then by distance, then by likeness. Faces without a
 * track begin one; tracks without a face age, and end once they were not seen for `leftAfter` seconds.
 */
export class Tracker<T> {
  readonly #leftAfter: number;
  readonly #about: () => T;
  #tracks: Track<T>[] = [];

  constructor(leftAfter: number, about: () => T) {
    this.#leftAfter = leftAfter * 1000;
    this.#about = about;
  }

  get tracks(): readonly Track<T>[] {
    return this.#tracks;
  }

  /**
   * @param time of the frame, milliseconds
   * @param unlikeness of a track and the i-th face, from 0 to 1; Infinity where they are two, undefined where nobody knows. Two that
   * are alike are joined however far apart they are, and rather than two that are near and not alike.
   * @returns each face's track, in the order of the faces, and the tracks that ended
   */
  update(boxes: readonly Box[], time: number, unlikeness: (about: T, i: number) => number | undefined = () => undefined): { tracks: Track<T>[]; ended: Track<T>[] } {
    const ended = this.expire(time);
    const expected = this.#tracks.map((track) => moved(track, time - track.last));
    const pairs = boxes.flatMap((box, i) =>
      expected.map((place, j) => {
        const near = cost(place, box);
        const unlike = unlikeness(this.#tracks[j]!.about, i);
        if (near < Infinity) return { i, j, cost: unlike === Infinity ? 2 + near : near };
        return { i, j, cost: 2 + (unlike ?? Infinity) };
      }),
    );
    pairs.sort((a, b) => a.cost - b.cost);
    const trackOf = new Map<number, Track<T>>();
    const taken = new Set<number>();
    for (const { i, j, cost } of pairs) {
      if (cost === Infinity || trackOf.has(i) || taken.has(j)) continue;
      taken.add(j);
      trackOf.set(i, this.#tracks[j]!);
    }
    const tracks = boxes.map((box, i) => {
      const track = trackOf.get(i) ?? this.#begin(box, time);
      if (time > track.last) {
        const passed = time - track.last;
        const [x, y] = middle(box);
        const [fromX, fromY] = middle(track.box);
        track.velocity = [(x - fromX) / passed, (y - fromY) / passed].map((now, k) => SMOOTHING * now + (1 - SMOOTHING) * track.velocity[k]!) as [
          number,
          number,
        ];
      }
      track.box = box;
      track.last = time;
      track.seen++;
      return track;
    });
    return { tracks, ended };
  }

  /** Ends the tracks that were not seen for too long. */
  expire(time: number): Track<T>[] {
    const ended = this.#tracks.filter(({ last }) => time - last > this.#leftAfter);
    if (ended.length > 0) this.#tracks = this.#tracks.filter((track) => !ended.includes(track));
    return ended;
  }

  /** Ends one: another face is in its place. Its next face begins a new one. */
  end(track: Track<T>): void {
    this.#tracks = this.#tracks.filter((each) => each !== track);
  }

  /** Ends all. */
  clear(): Track<T>[] {
    const all = this.#tracks;
    this.#tracks = [];
    return all;
  }

  #begin(box: Box, time: number): Track<T> {
    const track = {
      id: randomBytes(8).toString('hex'),
      box,
      first: time,
      last: time,
      seen: 0,
      velocity: [0, 0] as [number, number],
      about: this.#about(),
    };
    this.#tracks.push(track);
    return track;
  }
}

function middle({ x, y, width, height }: Box): [number, number] {
  return [x + width / 2, y + height / 2];
}

function moved({ box, velocity: [x, y] }: Track<unknown>, passed: number): Box {
  return { ...box, x: box.x + x * passed, y: box.y + y * passed };
}

/** Less is better: from 0 to 1 where they overlap, above 1 where they are near, Infinity where they are two faces. */
function cost(a: Box, b: Box): number {
  const overlap = intersectionOverUnion(a, b);
  if (overlap >= LEAST_OVERLAP) return 1 - overlap;
  const [ax, ay] = middle(a);
  const [bx, by] = middle(b);
  const size = Math.max(a.width, b.width);
  const distance = Math.hypot(ax - bx, ay - by) / size;
  const growth = size / Math.min(a.width, b.width);
  return distance <= MOST_DISTANCE && growth <= MOST_GROWTH ? 1 + distance : Infinity;
}

export function intersectionOverUnion(a: Box, b: Box): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  if (width <= 0 || height <= 0) return 0;
  const both = width * height;
  return both / (a.width * a.height + b.width * b.height - both);
}
