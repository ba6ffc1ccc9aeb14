import type { Face, FaceRecognizer, RawImage } from 'faiss-vision';
import type { DecisionConfig } from '../config/schema.js';
import type { Box, NewEvent } from '../store/events.js';
import { Decision, type Known } from './decision.js';
import { cropped, quality, sharpness } from './quality.js';
import { Tracker, type Track } from './tracker.js';

/** A frame and when it came. */
export interface Frame {
  number: number;
  /** Milliseconds since 1970. */
  time: number;
  /** Milliseconds of a clock that nobody sets: how long a face is there, and away, goes by it. */
  at: number;
  pixels: RawImage;
}

/** A face as the live view shows it. */
export interface LiveFace {
  track: string;
  box: Box;
  score: number;
  state: 'looking' | 'recognised' | 'unknown';
  person?: { id: string; name: string };
  distance?: number;
}

/** What the pipeline needs of the gallery. */
export type Nearest = (features: readonly Float32Array[]) => Promise<(Known | undefined)[]>;

/** Keeps an event; the picture is asked for only where it is to be kept. */
export type Tell = (event: NewEvent, face?: RawImage) => void;

interface Look {
  quality: number;
  score: number;
  box: Box;
  frame: { width: number; height: number };
  /** Where pictures are kept, until the first event has it. */
  face?: RawImage;
}

interface About {
  decision: Decision;
  /** What the face looked like when it was last seen well. */
  features?: Float32Array;
  best?: Look;
}

/** Share of a track's best look that another one needs in order to count. */
const WORST_LOOK = 0.25;

export interface FaceWatchOptions {
  camera: string;
  decision: DecisionConfig;
  recognizer: Pick<FaceRecognizer, 'faces' | 'threshold'>;
  nearest: Nearest;
  /** Whether anybody keeps the picture of a face with its event. */
  pictures: boolean;
  tell: Tell;
}

/** One camera's faces: found, followed, recognised on their good frames, and told of once each. */
export class FaceWatch {
  readonly #options: FaceWatchOptions;
  readonly #tracker: Tracker<About>;
  #ends = 0;

  constructor(options: FaceWatchOptions) {
    const { frames, unknownFrames, leftAfter } = options.decision;
    this.#options = options;
    this.#tracker = new Tracker(leftAfter, () => ({ decision: new Decision(frames, unknownFrames) }));
  }

  /** Frames come one after the other: the next once this has resolved. What `end` comes before is not decided by any more. */
  async take(frame: Frame): Promise<LiveFace[]> {
    const { recognizer, nearest } = this.#options;
    const ends = this.#ends;
    const faces = await recognizer.faces(frame.pixels);
    if (ends !== this.#ends) return [];
    // On a machine that can look at few frames only, a face may be anywhere on the next one.
    const unlikeness = ({ features }: About, i: number) => {
      if (!features) return undefined;
      const apart = distance(features, faces[i]!.features);
      return apart < recognizer.threshold ? apart : Infinity;
    };
    const boxes = faces.map(({ box }) => box);
    const { tracks, ended } = this.#tracker.update(boxes, frame.at, unlikeness);
    this.#tellLeft(ended);
    const good = faces.map((face, i) => this.#look(tracks[i]!, face, frame));
    faces.forEach(({ features }, i) => {
      if (good[i]) tracks[i]!.about.features = features;
    });
    const asked = faces.filter((_, i) => good[i]);
    const answers = asked.length > 0 ? await nearest(asked.map(({ features }) => features)) : [];
    if (ends !== this.#ends) return [];
    const known = faces.map((face) => answers[asked.indexOf(face)]);
    return faces.map((face, i) => {
      let track = tracks[i]!;
      if (good[i]) track = this.#decide(track, known[i], face, frame);
      return live(track, face, known[i]);
    });
  }

  /** Ends every track: the camera is lost, or the service stops. */
  end(reason: string): void {
    this.#ends++;
    this.#tellLeft(this.#tracker.clear(), reason);
  }

  /** Whether a look is good enough to recognise by; the best one is kept. */
  #look(track: Track<About>, { box, score }: Face, { pixels }: Frame): boolean {
    const { minScore, minSize, minSharpness } = this.#options.decision;
    if (score < minScore || box.width < minSize) return false;
    const sharp = sharpness(pixels, box);
    if (sharp < minSharpness) return false;
    const here = quality(score, box, sharp);
    const { best, decision } = track.about;
    if (!best || here > best.quality) {
      // Not for as long as the face is there: what lives long stays in memory until V8 looks through all of its heap.
      const wanted = this.#options.pictures && decision.verdict === undefined;
      track.about.best = { quality: here, score, ...place(pixels, box), ...(wanted ? { face: cropped(pixels, box) } : {}) };
    }
    return here >= WORST_LOOK * track.about.best!.quality;
  }

  #decide(track: Track<About>, known: Known | undefined, face: Face, frame: Frame): Track<About> {
    const verdict = track.about.decision.look(known);
    if (verdict === 'replaced') {
      this.#tracker.end(track);
      this.#tellLeft([track], 'another face is in its place');
      const [other] = this.#tracker.update([face.box], frame.at).tracks;
      this.#look(other!, face, frame);
      // It has been seen on as many frames as a decision needs.
      for (let i = 0; i < this.#options.decision.frames; i++)
        if (other!.about.decision.look(known) === 'recognised') this.#tellWho(other!, 'recognised', face, frame);
      return other!;
    }
    if (verdict) this.#tellWho(track, verdict, face, frame);
    return track;
  }

  /** Shows the best look; where that was shown before, as of somebody who is known after all, the one that decided. */
  #tellWho({ id, about: { decision, best } }: Track<About>, type: 'recognised' | 'unknown', { score, box }: Face, { time, pixels }: Frame): void {
    const { camera, pictures, tell } = this.#options;
    const shown = best!.face || !pictures ? { ...best! } : { score, ...place(pixels, box), face: cropped(pixels, box) };
    delete best!.face;
    tell({ type, camera, time: new Date(time), track: id, ...who(decision), score: shown.score, box: rounded(shown.box), frame: shown.frame }, shown.face);
  }

  #tellLeft(tracks: readonly Track<About>[], reason?: string): void {
    for (const { id, about } of tracks) {
      if (about.decision.verdict === undefined) continue;
      this.#options.tell({
        type: 'left',
        camera: this.#options.camera,
        track: id,
        ...who(about.decision),
        ...(reason === undefined ? {} : { reason }),
      });
    }
  }
}

function distance(a: Float32Array, b: Float32Array): number {
  return Math.sqrt(a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0));
}

function place({ width, height }: RawImage, box: Box): Pick<Look, 'box' | 'frame'> {
  return { box, frame: { width, height } };
}

function who({ person }: Decision): Pick<NewEvent, 'person' | 'distance'> {
  return person ? { person: { id: person.id, name: person.name }, distance: person.distance } : {};
}

function live({ id, about: { decision } }: Track<About>, { box, score }: Face, known: Known | undefined): LiveFace {
  const state = decision.verdict ?? 'looking';
  const distance = known?.distance ?? decision.person?.distance;
  const { person } = decision;
  return {
    track: id,
    box: rounded(box),
    score,
    state,
    ...(person ? { person: { id: person.id, name: person.name } } : {}),
    ...(distance === undefined ? {} : { distance }),
  };
}

/** Tenths of a pixel say enough. */
function rounded({ x, y, width, height }: Box): Box {
  const [left, top, wide, high] = [x, y, width, height].map((value) => Math.round(value * 10) / 10) as [number, number, number, number];
  return { x: left, y: top, width: wide, height: high };
}
