import { EventEmitter } from 'node:events';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { DepthMap } from '../dist/depth/depth-map.js';
import { DepthWatch } from '../dist/depth/watch.js';
import type { Face, ImageInput, RawImage } from '../dist/index.js';
import { Decision } from '../packages/service/dist/pipeline/decision.js';
import { FaceWatch, type Frame } from '../packages/service/dist/pipeline/face-watch.js';
import { CameraDepth } from '../packages/service/dist/pipeline/depth-watch.js';
import { CameraPipeline } from '../packages/service/dist/pipeline/pipeline.js';
import type { Camera } from '../packages/service/dist/sources/camera.js';
import { Newest } from '../packages/service/dist/pipeline/newest.js';
import { sharpness } from '../packages/service/dist/pipeline/quality.js';
import { intersectionOverUnion, Tracker } from '../packages/service/dist/pipeline/tracker.js';
import type { NewEvent } from '../packages/service/dist/store/events.js';
import { until } from './support/wait.js';

const box = (x: number, y = 100, size = 80) => ({ x, y, width: size, height: size });

describe('the tracker', () => {
  it('follows two faces that walk past each other at different heights', () => {
    const tracker = new Tracker(1, () => undefined);
    const ids = new Set<string>();
    for (let i = 0; i <= 20; i++) {
      const { tracks } = tracker.update([box(20 * i), box(400 - 20 * i, 190)], 100 * i);
      ids.add(tracks.map(({ id }) => id).join());
    }
    expect(ids.size).toBe(1);
    expect(tracker.tracks).toHaveLength(2);
  });

  it('follows a quick face by its velocity, where boxes of two frames do not meet', () => {
    const tracker = new Tracker(1, () => undefined);
    const seen = [0, 30, 70, 120, 190, 275, 360].map((x, i) => tracker.update([box(x)], 100 * i).tracks[0]!.id);
    expect(new Set(seen).size).toBe(1);
    expect(intersectionOverUnion(box(275), box(360))).toBe(0);
  });

  it('keeps a track over frames without its face, and ends it once those are too many', () => {
    const tracker = new Tracker(1, () => undefined);
    const [{ id }] = tracker.update([box(0)], 0).tracks as [{ id: string }];
    expect(tracker.update([], 500)).toEqual({ tracks: [], ended: [] });
    expect(tracker.update([box(5)], 900).tracks[0]!.id).toBe(id);
    expect(tracker.update([], 1900).ended).toEqual([]);
    expect(tracker.update([], 1901).ended.map((track) => track.id)).toEqual([id]);
    expect(tracker.update([box(5)], 2000).tracks[0]!.id).not.toBe(id);
  });

  it('does not take a face elsewhere, or one of another size, for the same', () => {
    const tracker = new Tracker(5, () => undefined);
    const [first] = tracker.update([box(0)], 0).tracks;
    const [far, large] = [tracker.update([box(300)], 100).tracks[0], tracker.update([box(90, 100, 300)], 200).tracks[0]];
    expect(new Set([first!.id, far!.id, large!.id]).size).toBe(3);
  });
});

describe('a decision', () => {
  const ada = (distance = 0.4) => ({ id: 'a', name: 'Ada', distance });
  const bob = { id: 'b', name: 'Bob', distance: 0.5 };
  const verdicts = (decision: Decision, looks: (ReturnType<typeof ada> | undefined)[]) => looks.map((look) => decision.look(look));

  it('needs frames one after the other that agree, and is given once', () => {
    const decision = new Decision(3, 4);
    expect(
      verdicts(decision, [ada(), ada(), bob, ada(), undefined, ada(0.4), ada(0.2), ada(0.3), ada(), undefined, undefined, undefined, undefined]),
    ).toEqual([...Array(7).fill(undefined), 'recognised', ...Array(5).fill(undefined)]);
    expect(decision.person).toEqual(ada(0.2));
  });

  it('unknown takes its own number of frames; who is known after all is told', () => {
    const decision = new Decision(2, 3);
    expect(verdicts(decision, [undefined, undefined, ada(), undefined, undefined, undefined, undefined, ada(), ada()])).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
      undefined,
      'unknown',
      undefined,
      undefined,
      'recognised',
    ]);
  });

  it('another person in the same place is another face', () => {
    expect(verdicts(new Decision(2, 3), [ada(), ada(), bob, ada(), bob, bob])).toEqual([
      undefined,
      'recognised',
      undefined,
      undefined,
      undefined,
      'replaced',
    ]);
  });
});

describe('the face watch', () => {
  /** Frames are lists of faces: [who, x, detector's score]. */
  async function watch(frames: [string, number, number?][][], decision = {}, pictures = true) {
    const told: string[] = [];
    const shown: (string | undefined)[] = [];
    const people: Record<string, number> = { ada: 1, bob: 2 };
    const noise = Uint8Array.from({ length: 640 * 480 }, (_, i) => (i * 7919) & 255);
    let faces: Face[] = [];
    const faceWatch = new FaceWatch({
      camera: 'door',
      decision: { frames: 3, unknownFrames: 4, minScore: 0.9, minSize: 48, minSharpness: 0, leftAfter: 0.5, ...decision },
      recognizer: { faces: async () => faces, threshold: 0.6 },
      nearest: async (features) =>
        features.map(([code]) => (code === 0 ? undefined : { id: String(code), name: code === 1 ? 'ada' : 'bob', distance: 0.3 })),
      pictures,
      tell: ({ type, person, track, box }: NewEvent, face?: RawImage) => {
        told.push(`${type} ${person?.name ?? '-'} ${track!.length}`);
        if (type !== 'left') shown.push(face && `${face.width} x ${face.height} of ${box!.width} x ${box!.height} at ${box!.x}`);
      },
    });
    const live: string[] = [];
    for (const [i, there] of frames.entries()) {
      faces = there.map(([who, x, score = 1]) => ({ box: box(x), score, landmarks: [], features: Float32Array.of(people[who] ?? 0) }));
      // The machine's clock is set back by an hour meanwhile.
      const frame: Frame = { number: i, time: 1e7 - (i > 24 ? 3600_000 : 0) + 100 * i, at: 100 * i, pixels: { data: noise, width: 640, height: 480, channels: 1 } };
      live.push((await faceWatch.take(frame)).map(({ state, person }) => person?.name ?? state).join());
    }
    faceWatch.end('over');
    return { told, live, shown };
  }
  const times = <T>(count: number, value: T): T[] => Array(count).fill(value) as T[];

  it('tells of one appearance once, however long it lasts', async () => {
    const { told, live } = await watch([
      ...times(2, []),
      ...times(20, [['ada', 50]] as [string, number][]),
      ...times(7, []),
      ...times(9, [['x', 60]] as [string, number][]),
    ]);
    expect(told).toEqual(['recognised ada 16', 'left ada 16', 'unknown - 16', 'left - 16']);
    expect(live.slice(2, 6)).toEqual(['looking', 'looking', 'ada', 'ada']);
  });

  it('tells apart two who are there at the same time', async () => {
    const { told } = await watch(
      times(5, [
        ['ada', 50],
        ['bob', 400],
      ]),
    );
    expect(told).toEqual(['recognised ada 16', 'recognised bob 16', 'left ada 16', 'left bob 16']);
  });

  it('lets nobody take over the track of somebody who was recognised', async () => {
    const { told } = await watch([...times(5, [['ada', 50]]), ...times(5, [['bob', 52]])] as [string, number][][]);
    expect(told).toEqual(['recognised ada 16', 'left ada 16', 'recognised bob 16', 'left bob 16']);
  });

  it('knows a face again that is somewhere else on the next frame, as where few frames are looked at', async () => {
    const places = [50, 60, 400, 410, 90, 100];
    expect((await watch(places.map((x) => [['ada', x]]))).told).toEqual(['recognised ada 16', 'left ada 16']);
    const two = places.map((x): [string, number][] => [['ada', x], ['bob', 500 - x]]);
    expect((await watch(two)).told).toEqual(['recognised ada 16', 'recognised bob 16', 'left ada 16', 'left bob 16']);
  });

  it('gives each event its picture, also that of somebody who is known after all, and none where nobody keeps it', async () => {
    const frames = [...times(5, [['x', 50]]), ...times(5, [['ada', 52, 0.95]])] as [string, number, number?][][]; // no better look later
    const { told, shown } = await watch(frames);
    expect(told).toEqual(['unknown - 16', 'recognised ada 16', 'left ada 16']);
    // The second shows the frame that decided: the first look's picture was let go with its event.
    expect(shown).toEqual(['161 x 161 of 80 x 80 at 50', '161 x 161 of 80 x 80 at 52']);
    expect((await watch(frames, {}, false)).shown).toEqual([undefined, undefined]);
  });

  it('does not recognise by frames that are too bad, and says nothing of a track without a decision', async () => {
    expect((await watch(times(9, [['ada', 50, 0.8]]))).told).toEqual([]);
    expect((await watch(times(9, [['ada', 50]]), { minSize: 100 })).told).toEqual([]);
    expect((await watch(times(9, [['ada', 50]]), { minSharpness: 1e6 })).told).toEqual([]);
    expect((await watch(times(2, [['ada', 50]]))).told).toEqual([]);
  });
});

it('sharpness is 0 for a flat picture and grows with contrast', () => {
  const picture = (contrast: number) => ({
    data: Uint8Array.from({ length: 100 * 100 }, (_, i) => 128 + contrast * ((i + Math.floor(i / 100)) % 2)),
    width: 100,
    height: 100,
    channels: 1 as const,
  });
  const [flat, soft, hard] = [0, 10, 100].map((contrast) => sharpness(picture(contrast), box(10, 10, 48))) as [number, number, number];
  expect(flat).toBe(0);
  expect(hard).toBeGreaterThan(soft);
  expect(soft).toBeGreaterThan(0);
});

describe('when the camera is lost', () => {
  const pixels: RawImage = { data: new Uint8Array(64 * 48).fill(100), width: 64, height: 48, channels: 1 };
  const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

  it('nothing is told any more of frames that came before', async () => {
    const told: string[] = [];
    const waiting: (() => void)[] = [];
    const camera = Object.assign(new EventEmitter(), { config: { id: 'door' }, stop: async () => {} }) as never as Camera;
    const face: Face = { box: box(1, 1, 40), score: 1, landmarks: [], features: Float32Array.of(1) };
    const pipeline = new CameraPipeline({
      camera,
      tell: ({ type }) => void told.push(type),
      faces: {
        decision: { frames: 1, unknownFrames: 1, minScore: 0, minSize: 0, minSharpness: 0, leftAfter: 60 },
        recognizer: { threshold: 0.6, faces: () => new Promise((resolve) => waiting.push(() => resolve([face]))) },
        nearest: async (features) => features.map(() => undefined),
        pictures: false,
      },
    });
    const frame = async () => {
      camera.emit('frame', pixels);
      await turn();
    };
    await frame();
    waiting.shift()!();
    await turn();
    expect(pipeline.live!.faces).toHaveLength(1);
    for (let i = 0; i < 3; i++) await frame(); // one is looked at, one is decoded, one is dropped
    camera.emit('frame', pixels); // and one comes in
    camera.emit('lost', 'the cable');
    expect(pipeline.live).toMatchObject({ frame: 1, faces: [] });
    for (let i = 0; i < 4; i++) {
      waiting.shift()?.();
      await turn();
    }
    expect(told).toEqual(['unknown', 'left', 'camera-lost']);
    camera.emit('back');
    await frame();
    waiting.shift()!();
    await turn();
    expect(told.slice(3)).toEqual(['camera-back', 'unknown']);
    await pipeline.close();
  });

  it('what was near is clear, and stays so', async () => {
    const told: boolean[] = [];
    const near = new DepthMap(Float32Array.from({ length: 160 * 128 }, (_, i) => (i % 2 === 0 ? 1 : 0.1)));
    const depth = { watch: (frames: AsyncIterable<RawImage>, options: object) => new DepthWatch(frames, async () => turn().then(() => near), options) };
    const watch = new CameraDepth({ depth: depth as never, every: 0.02, clearAt: 0.3, onMap: () => {}, onNear: (is) => void told.push(is), onError: (error) => expect.fail(String(error)) });
    watch.frames.put(pixels);
    await until('it is near', () => told.length > 0);
    watch.frames.put(pixels); // waits
    watch.lost();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(told).toEqual([true, false]);
    await until('it is near again', () => {
      watch.frames.put(pixels);
      return told.length > 2;
    });
    await watch.close();
  });
});

it('a frame that came as a file has its pixels only until it was looked at or dropped', async () => {
  const jpeg = await sharp({ create: { width: 320, height: 240, channels: 3, background: '#808080' } }).jpeg().toBuffer();
  const camera = Object.assign(new EventEmitter(), { config: { id: 'door' }, stop: async () => {} }) as never as Camera;
  const seen: RawImage[] = [];
  const ends: (() => void)[] = [];
  const deep: ImageInput[] = [];
  const watch = (frames: AsyncIterable<ImageInput>) =>
    new DepthWatch(frames, async (frame) => {
      deep.push(frame);
      return new DepthMap(new Float32Array(160 * 128));
    });
  const faces = (pixels: ImageInput) => {
    seen.push(pixels as RawImage);
    return new Promise<Face[]>((resolve) => ends.push(() => resolve([])));
  };
  const pipeline = new CameraPipeline({
    camera,
    tell: () => {},
    faces: {
      decision: { frames: 1, unknownFrames: 1, minScore: 0, minSize: 0, minSharpness: 0, leftAfter: 60 },
      recognizer: { threshold: 0.6, faces },
      nearest: async () => [],
      pictures: false,
    },
    depth: { estimator: { watch } as never, every: 0.01, clearAt: 0.3 },
  });
  const bytes = () => seen.map(({ data }) => data.byteLength);
  const whole = 320 * 240 * 3;
  const { decoded } = pipeline;
  const put = decoded.put.bind(decoded);
  const all: RawImage[] = [];
  decoded.put = (item) => {
    all.push(item.picture.pixels);
    put(item);
  };
  for (let i = 1; i <= 3; i++) {
    camera.emit('frame', jpeg);
    await until(`frame ${i} is decoded`, () => all.length === i);
    if (i === 1) await until('it is looked at', () => seen.length === 1);
  }
  // The first is looked at, the second was dropped for the third.
  expect(all.map(({ data }) => data.byteLength)).toEqual([whole, 0, whole]);
  ends.shift()!();
  await until('the third is looked at', () => seen.length === 2);
  expect(bytes()).toEqual([0, whole]);
  ends.shift()!();
  await until('it is over', () => pipeline.analysed === 2 && deep.length > 0);
  await pipeline.close();
  expect(bytes()).toEqual([0, 0]);
  expect(await pipeline.jpeg()).toBe(jpeg);
  // Depth, which goes at a pace of its own, has the files.
  expect(new Set(deep)).toEqual(new Set([jpeg]));

  const raw: RawImage = { data: new Uint8Array(64 * 48), width: 64, height: 48, channels: 1 };
  const other = new CameraPipeline({ camera, tell: () => {} });
  camera.emit('frame', raw);
  await until('raw pixels were looked at', () => other.analysed === 1);
  await other.close();
  expect(raw.data).toHaveLength(64 * 48);
});

describe('a queue of the newest', () => {
  it('gives the newest, counts what it dropped, and ends after what waits', async () => {
    const newest = new Newest<number>();
    const got: number[] = [];
    const reading = (async () => {
      for await (const value of newest) {
        got.push(value);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    newest.put(1);
    await new Promise((resolve) => setTimeout(resolve, 1));
    for (const value of [2, 3, 4]) newest.put(value);
    newest.close();
    newest.put(5);
    await reading;
    expect([got, newest.received, newest.dropped]).toEqual([[1, 4], 4, 2]);
  });
});
