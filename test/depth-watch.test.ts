import { DepthEstimator, DepthMap, DepthWatch, type ImageInput, type WatchOptions } from 'faiss-vision/depth';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { seededImage } from './support/seeded';
import { until } from './support/wait';

const error = (code: string, text = '') => expect.objectContaining({ code, message: expect.stringContaining(text) });
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A frame of one pixel that says its number; raw pixels pass through as they are. */
const frame = (number: number) => ({ data: Uint8Array.of(number & 255, number >> 8, 0), width: 1, height: 1, channels: 3 as const });
const numberOf = (image: ImageInput) => (image as { data: Uint8Array }).data[0]! + 256 * (image as { data: Uint8Array }).data[1]!;

/** A map that so many of 1,000 cells cover. */
const covered = (cells: number) => new DepthMap(new Float32Array(1000).fill(1).fill(2, 0, cells), { width: 100, height: 10 });

async function* numbers(count: number, wait?: () => Promise<void>): AsyncGenerator<ImageInput> {
  for (let i = 0; i < count; i++) {
    await wait?.();
    yield frame(i);
  }
}

/** Runs a watch to its end; the numbers of the frames that were estimated, and how it ended. */
async function collect(frames: AsyncIterable<ImageInput>, options?: WatchOptions, work: () => Promise<void> = async () => {}) {
  const seen: number[] = [];
  const watch = new DepthWatch(
    frames,
    async (image) => {
      await work();
      seen.push(numberOf(image));
      return covered(0);
    },
    options,
  );
  let maps = 0;
  let failure: unknown;
  try {
    for await (const _ of watch) maps++;
  } catch (reason) {
    failure = reason;
  }
  return { seen, maps, failure, watch };
}

describe('on a clock of its own', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('1,000 frames at 30 a second, estimates of 100 ms: no answer is older than two estimates, and every frame is accounted for', async () => {
    const came: number[] = [];
    const latencies: number[] = [];
    const alerts: string[] = [];
    const expected: string[] = [];
    // The coverage goes up and down, through both thresholds.
    const coverage = (number: number) => Math.round(330 + 120 * Math.sin(number / 40) + 30 * Math.sin(number * 1.7));
    async function* camera() {
      for (let i = 0; i < 1000; i++) {
        await sleep(1000 / 30);
        came.push(Date.now());
        yield frame(i);
      }
    }
    const order: number[] = [];
    const watch = new DepthWatch(camera(), async (image) => {
      await sleep(100);
      order.push(numberOf(image));
      return covered(coverage(numberOf(image)));
    });
    watch.on('near', () => alerts.push(`near ${order.at(-1)}`)).on('clear', () => alerts.push(`clear ${order.at(-1)}`));
    let alert = false;
    const done = (async () => {
      for await (const map of watch) {
        const number = order.at(-1)!;
        latencies.push(Date.now() - came[number]!);
        if (!alert && map.coverage > 0.35) expected.push(`near ${number}`);
        if (alert && map.coverage <= 0.3) expected.push(`clear ${number}`);
        alert = alert ? map.coverage > 0.3 : map.coverage > 0.35;
        expect([watch.alert, watch.frame]).toEqual([alert, number + 1]);
      }
    })();
    await vi.advanceTimersByTimeAsync(60_000);
    await done;
    expect(Math.max(...latencies)).toBeLessThanOrEqual(200);
    expect(order.at(-1)).toBe(999);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect([watch.received, watch.estimated, watch.dropped]).toEqual([1000, order.length, 1000 - order.length]);
    // One estimate after the other for 33 seconds: some 330, none of them idle.
    expect(order.length).toBeGreaterThan(240);
    expect(alerts).toEqual(expected);
    expect(alerts.length).toBeGreaterThan(4);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('a source that never starts fails after a minute, and one that stalls after the time that was set', async () => {
    const returned: string[] = [];
    const silent = (count: number) => {
      let given = 0;
      const iterator = {
        next: () => (given < count ? Promise.resolve({ done: false, value: frame(given++) }) : new Promise<never>(() => {})),
        return: async () => (returned.push('returned'), { done: true, value: undefined }),
      };
      return { [Symbol.asyncIterator]: () => iterator } as AsyncIterable<ImageInput>;
    };
    const never = collect(silent(0));
    await vi.advanceTimersByTimeAsync(59_900);
    expect(returned).toEqual([]);
    await vi.advanceTimersByTimeAsync(200);
    expect((await never).failure).toEqual(error('ERR_SOURCE_STALLED', 'no frame at all for 60 s'));
    const stalled = collect(silent(3), { stallAfter: 5 });
    await vi.advanceTimersByTimeAsync(5_100);
    expect(await stalled).toMatchObject({ failure: error('ERR_SOURCE_STALLED', 'no frame after number 3 for 5 s') });
    expect(returned).toHaveLength(2);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('a slow consumer does not count as a stall, and waits for no old frame', async () => {
    const watch = new DepthWatch(numbers(50, () => sleep(100)), async (image) => covered(numberOf(image)), { stallAfter: 1 });
    const seen: number[] = [];
    const done = (async () => {
      for await (const map of watch) {
        seen.push(Math.round(map.coverage * 1000));
        await sleep(1920);
      }
    })();
    await vi.advanceTimersByTimeAsync(20_000);
    await done;
    expect(seen).toEqual([0, 19, 38, 49]);
    expect(watch.dropped).toBe(46);
  });
});

describe('the end', () => {
  it('of the source is the end, after its last frame', async () => {
    const { seen, maps, failure, watch } = await collect(numbers(5, () => sleep(1)), {}, () => sleep(20));
    expect([seen.at(-1), maps, failure]).toEqual([4, seen.length, undefined]);
    expect(watch.dropped).toBe(5 - maps);
    expect(await collect(numbers(0))).toMatchObject({ maps: 0, failure: undefined });
  });

  it('everyFrame takes each in its turn', async () => {
    const { seen, watch } = await collect(numbers(20), { everyFrame: true }, () => sleep(1));
    expect([seen, watch.dropped]).toEqual([Array.from({ length: 20 }, (_, i) => i), 0]);
  });

  it('a source that throws: its own error, after the frames that it gave', async () => {
    async function* broken() {
      yield frame(1);
      throw new Error('the cable is out');
    }
    expect(await collect(broken())).toMatchObject({ seen: [1], failure: new Error('the cable is out') });
    const cannotStart = { [Symbol.asyncIterator]: () => { throw new Error('no such camera'); } };
    expect(await collect(cannotStart)).toMatchObject({ maps: 0, failure: new Error('no such camera') });
  });

  it('an AbortSignal ends it at once and without an error: before, between frames and in an estimate', async () => {
    const hanging = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) };
    expect(await collect(numbers(3), { signal: AbortSignal.abort() })).toMatchObject({ maps: 0, failure: undefined });
    expect(await collect(hanging, { signal: AbortSignal.timeout(20) })).toMatchObject({ maps: 0, failure: undefined });
    const stop = new AbortController();
    const never = () => (setTimeout(() => stop.abort()), new Promise<never>(() => {})); // an end that waited for it would never come
    expect(await collect(numbers(3), { signal: stop.signal }, never)).toMatchObject({ maps: 0, failure: undefined });
  });

  it('a source that fails because of the same signal is no failure', async () => {
    const stop = new AbortController();
    async function* obedient() {
      yield frame(1);
      await new Promise((_, reject) => stop.signal.addEventListener('abort', () => reject(stop.signal.reason as Error)));
    }
    const abortLater = async () => void setTimeout(() => stop.abort());
    expect(await collect(obedient(), { signal: stop.signal }, abortLater)).toMatchObject({ seen: [1], failure: undefined });
  });

  it('break lets the source go, and the watch is over', async () => {
    let closed = false;
    async function* endless() {
      try {
        for (let i = 0; ; i++) yield frame(i & 255); // never waits: it must not keep the event loop to itself
      } finally {
        closed = true;
      }
    }
    const watch = new DepthWatch(endless(), async () => (await sleep(5), covered(0)));
    let maps = 0;
    for await (const _ of watch) if (++maps === 3) break;
    await until('the source is let go', () => closed);
    const { received } = watch;
    await sleep(20);
    expect(watch.received).toBe(received);
    expect(() => watch[Symbol.asyncIterator]()).toThrowError(error('ERR_ALREADY_WATCHED'));
  });

  it('memory stays flat over 20,000 frames', async () => {
    // Each frame has a buffer of its own; if they were kept there would be 1.2 GB of them.
    async function* large() {
      for (let i = 0; i < 20_000; i++) yield { data: new Uint8Array(60_000), width: 200, height: 100, channels: 3 as const };
    }
    const watch = new DepthWatch(large(), async () => (await sleep(2), covered(0)));
    let most = 0;
    for await (const _ of watch) most = Math.max(most, process.memoryUsage().arrayBuffers);
    expect(watch.received).toBe(20_000);
    expect(most).toBeLessThan(400e6);
  });
});

describe('near and clear', () => {
  it('flicker neither at the one threshold nor at the other', async () => {
    const told: string[] = [];
    const covers = [0, 350, 351, 349, 340, 351, 301, 300, 320, 350, 340, 360, 299];
    const watch = new DepthWatch(numbers(covers.length), async (image) => covered(covers[numberOf(image)]!), { everyFrame: true });
    watch.on('near', (map) => told.push(`near ${map.coverage}`)).on('clear', (map) => told.push(`clear ${map.coverage}`));
    for await (const _ of watch);
    expect(told).toEqual(['near 0.351', 'clear 0.3', 'near 0.36', 'clear 0.299']);
  });

  it('clearAt moves the lower one', async () => {
    const told: string[] = [];
    const covers = [400, 300, 210, 200];
    const watch = new DepthWatch(numbers(4), async (image) => covered(covers[numberOf(image)]!), { everyFrame: true, clearAt: 0.2 });
    watch.on('near', (map) => told.push(`near ${map.coverage}`)).on('clear', (map) => told.push(`clear ${map.coverage}`));
    for await (const _ of watch);
    expect(told).toEqual(['near 0.4', 'clear 0.2']);
  });
});

describe('with the network', () => {
  it('frames that change size, one of 1 x 1 and one that is no picture', async () => {
    const depth = await DepthEstimator.load({ weights: 'seeded' });
    const noise = (width: number, height: number) => ({ data: seededImage(`${width}`, height, width), width, height, channels: 3 as const });
    async function* frames() {
      yield noise(304, 228);
      yield noise(640, 480);
      yield noise(1, 1);
      yield noise(33, 700);
    }
    const maps: DepthMap[] = [];
    for await (const map of depth.watch(frames(), { everyFrame: true })) maps.push(map);
    expect(maps.map(({ width, height, seeded }) => [width, height, seeded])).toEqual(new Array(4).fill([160, 128, true]));
    expect(maps[1]!.values).toEqual((await depth.estimate(noise(640, 480))).values);
    async function* damaged() {
      yield Buffer.from('no picture');
    }
    const watching = async () => {
      for await (const _ of depth.watch(damaged()));
    };
    await expect(watching()).rejects.toThrowError(error('ERR_IMAGE_DECODE'));
    await depth.close();
  });
});

// FAISS_VISION_LONG=1: 1,000 frames, which takes 34 seconds; else the first of them.
const length = process.env.FAISS_VISION_LONG ? 1000 : 75;

it(`${length} frames of 640 x 480 at 30 a second through the network: the newest ones, dropped frames, alerts, memory`, async () => {
  const depth = await DepthEstimator.load({ weights: 'seeded' });
  await depth.warmUp();
  const came: number[] = [];
  // How many frames had come when each estimate began. What one takes depends on the machine, but here always more than a frame.
  const newest: number[] = [];
  const estimate = depth.estimate.bind(depth);
  depth.estimate = async (image) => {
    newest.push(came.length);
    const [map] = await Promise.all([estimate(image), sleep(50)]);
    return map;
  };
  const begin = performance.now();
  async function* camera() {
    for (let i = 0; i < length; i++) {
      await sleep(begin + ((i + 1) * 1000) / 30 - performance.now());
      // What seeded weights see in it covers from a tenth to two thirds.
      const data = new Uint8Array(640 * 480 * 3).fill(127.5 + 127.5 * Math.sin(i / 20));
      came.push(i);
      yield { data, width: 640, height: 480, channels: 3 as const };
    }
  }
  const watch = depth.watch(camera());
  const told: string[] = [];
  watch.on('near', () => told.push(`near ${watch.frame}`)).on('clear', () => told.push(`clear ${watch.frame}`));
  const expected: string[] = [];
  let alert = false;
  let [memory, most] = [0, 0];
  for await (const { coverage } of watch) {
    const { frame, estimated } = watch;
    // By frames, not by the clock: each estimate was of the newest, or of the one before it where that came at this very moment.
    expect(newest[estimated - 1]! - frame).toBeLessThanOrEqual(1);
    if (!alert && coverage > 0.35) expected.push(`near ${frame}`);
    if (alert && coverage <= 0.3) expected.push(`clear ${frame}`);
    alert = alert ? coverage > 0.3 : coverage > 0.35;
    expect(watch.alert).toBe(alert);
    const { rss } = process.memoryUsage();
    if (frame < length / 3) memory = Math.max(memory, rss);
    most = Math.max(most, rss);
  }
  expect([watch.received, watch.frame, watch.estimated + watch.dropped]).toEqual([length, length, length]);
  expect(watch.dropped).toBeGreaterThan(0.2 * length);
  expect(told).toEqual(expected);
  if (process.env.FAISS_VISION_LONG) {
    expect(told.length).toBeGreaterThan(4);
    // All 1,000 frames have 920 MB. A short stream is over before garbage is collected.
    expect(most - memory).toBeLessThan(100e6);
  }
  await depth.close();
});

it.each([
  [null, {}, '`frames`'],
  [[frame(1)], {}, '`frames`'],
  [numbers(1), { stallAfter: 0 }, '`stallAfter`'],
  [numbers(1), { clearAt: 0.4 }, '`clearAt`'],
  [numbers(1), { signal: 1 }, '`signal`'],
  [numbers(1), { everyFrame: 1 }, '`everyFrame`'],
])('%j with %j is refused', (frames, options, text) => {
  expect(() => new DepthWatch(frames as never, async () => covered(0), options as never)).toThrowError(error('ERR_INVALID_ARGUMENT', text));
});
