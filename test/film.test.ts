import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readlinkSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import Module from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DepthEstimator, openFrames, type DepthMap, type RawImage } from 'faiss-vision/depth';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { capturedFrames } from '../dist/depth/frames';
import { loadOpenCv, opencvModules } from './support/opencv';

const { cv, missing } = loadOpenCv();
// As if it were installed beside this package, which has to find it by itself.
process.env.NODE_PATH = opencvModules;
(Module as unknown as { _initPaths(): void })._initPaths();

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-film-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const error = (code: string, text: string) => expect.objectContaining({ code, message: expect.stringContaining(text) });

/** A film of frames in one colour each, that tells its number: blue 8 n, green 250 - 8 n, red 40. */
function writeFilm(name: string, codec: string, count: number, width = 64, height = 48): string {
  const { Mat, Size, VideoWriter, CV_8UC3 } = cv!;
  const writer = new VideoWriter(at(name), VideoWriter.fourcc(codec), 30, new Size(width, height), true);
  for (let i = 0; i < count; i++) {
    writer.write(new Mat(Buffer.alloc(width * height * 3, Uint8Array.of(8 * i, 250 - 8 * i, 40)), height, width, CV_8UC3));
  }
  writer.release();
  return at(name);
}

/** A frame's number by two of its colours, or what it is instead. */
function numberOf(frame: RawImage): number | string {
  const { data, width, height, channels, order } = frame;
  const colors = [data[0]!, 250 - data[1]!].map((value) => Math.round(value / 8));
  const whole = data.length === width * height * 3 && channels === 3 && order === 'bgr' && Math.abs(data[2]! - 40) < 8;
  return whole && colors[0] === colors[1] ? colors[0]! : `${width} x ${height} x ${channels}: ${data.subarray(0, 3).join()}`;
}

async function numbers(frames: AsyncIterable<unknown>): Promise<(number | string)[]> {
  const seen = [];
  for await (const frame of frames) seen.push(numberOf(frame as RawImage));
  return seen;
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);
/** Whether this process has the file open. */
async function isOpen(path: string): Promise<boolean> {
  // The package's last read lets its file go once the turn is over in which it answered.
  await new Promise((resolve) => setImmediate(resolve));
  return readdirSync('/proc/self/fd').some((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false; // the one that listed them
    }
  });
}

describe.skipIf(missing)('a film through @u4/opencv4nodejs', () => {
  it.each([
    ['film.avi', 'MJPG'],
    ['film.mp4', 'mp4v'],
  ])('%s: its frames in their order, and its end', async (name, codec) => {
    const { frames, recorded } = await openFrames(writeFilm(name, codec, 30));
    expect([await numbers(frames), recorded]).toEqual([upTo(30), true]);
    expect(await isOpen(at(name))).toBe(false);
  });

  it('is let go when the loop is left', async () => {
    const film = writeFilm('left.avi', 'MJPG', 5);
    for await (const frame of (await openFrames(film)).frames) {
      expect([numberOf(frame as RawImage), await isOpen(film)]).toEqual([0, true]);
      break;
    }
    expect(await isOpen(film)).toBe(false);
  });

  it('cut short: the frames before the cut, or an error where its list of frames is gone', async () => {
    const cut = (film: string) => (truncateSync(film, statSync(film).size >> 1), film);
    const seen = await numbers((await openFrames(cut(writeFilm('cut.avi', 'MJPG', 30, 640, 480)))).frames);
    expect(seen.length).toBeGreaterThan(5);
    expect(seen.length).toBeLessThan(25);
    // The last one may be cut itself.
    expect(seen.slice(0, -1)).toEqual(upTo(seen.length - 1));
    const film = cut(writeFilm('cut.mp4', 'mp4v', 30, 640, 480));
    await expect(numbers((await openFrames(film)).frames)).rejects.toThrowError(error('ERR_SOURCE_NOT_FOUND', film));
  });

  it('that is none, or a camera that is not there', async () => {
    writeFileSync(at('text.mp4'), 'no film');
    await expect(numbers((await openFrames(at('text.mp4'))).frames)).rejects.toThrowError(error('ERR_SOURCE_NOT_FOUND', 'text.mp4'));
    const camera = await openFrames('97');
    expect(camera.recorded).toBe(false);
    await expect(numbers(camera.frames)).rejects.toThrowError(error('ERR_SOURCE_NOT_FOUND', 'camera 97'));
  });

  it('what is live has no end of its own: it fails, after its last frame', async () => {
    const seen: unknown[] = [];
    const reading = async () => {
      for await (const frame of capturedFrames(writeFilm('live.avi', 'MJPG', 3), true)) seen.push(numberOf(frame as RawImage));
    };
    await expect(reading()).rejects.toThrowError(error('ERR_SOURCE_FAILED', 'gives no more frames'));
    expect(seen).toEqual(upTo(3));
  });

  it('leaves the event loop free and memory flat', async () => {
    const film = writeFilm('large.avi', 'MJPG', 20, 1920, 1080);
    let before = 0;
    const shares: number[] = [];
    for (let round = 0; round < 8; round++) {
      if (round === 2) before = process.memoryUsage().rss;
      const frames = (await openFrames(film)).frames[Symbol.asyncIterator]();
      await frames.next(); // opens it, on this thread
      const begin = performance.eventLoopUtilization();
      let read = 1;
      while (!(await frames.next()).done) read++;
      shares.push(performance.eventLoopUtilization(begin).utilization);
      expect(read).toBe(20);
    }
    // The share of time in which this thread works instead of waiting for OpenCV's. Reading here it would be above 0.9.
    expect(shares.sort((a, b) => a - b)[4]).toBeLessThan(0.7);
    // 120 frames of 6 MB: kept, they would be 750 MB.
    expect(process.memoryUsage().rss - before).toBeLessThan(300e6);
  });
});

describe.skipIf(missing)('depth of a film, with the network', () => {
  let depth: DepthEstimator;
  let film: string;
  beforeAll(async () => {
    depth = await DepthEstimator.load({ weights: 'seeded' });
    film = writeFilm('depth.avi', 'MJPG', 6, 320, 240);
  });
  afterAll(() => depth.close());

  it('every frame has its map', async () => {
    const { frames } = await openFrames(film);
    const maps: DepthMap[] = [];
    for await (const map of depth.watch(frames, { everyFrame: true })) maps.push(map);
    const expected: Float32Array[] = [];
    for await (const frame of (await openFrames(film)).frames) expected.push((await depth.estimate(frame)).values);
    expect(maps.map(({ values }) => values)).toEqual(expected);
    expect(expected[1]).not.toEqual(expected[0]);
  });

  it('as from a camera: the newest frames, and those between are dropped', async () => {
    const watch = depth.watch((await openFrames(film)).frames);
    let maps = 0;
    for await (const _ of watch) maps++;
    expect([watch.received, watch.frame, watch.estimated + watch.dropped]).toEqual([6, 6, 6]);
    expect(maps).toBe(watch.estimated);
    expect(watch.dropped).toBeGreaterThan(0);
  });

  it('a Mat is a frame as well', async () => {
    const capture = new cv!.VideoCapture(film);
    async function* mats() {
      for (let mat = await capture.readAsync(); !mat.empty; mat = await capture.readAsync()) yield mat;
    }
    let maps = 0;
    for await (const _ of depth.watch(mats(), { everyFrame: true })) maps++;
    expect(maps).toBe(6);
    capture.release();
  });

  it('faiss-vision depth --watch FILM', () => {
    const cli = join(__dirname, '../dist/cli/main.js');
    const { OPENCV4NODEJS_DISABLE_AUTOBUILD: _, ...env } = process.env;
    const watch = (...options: string[]) =>
      execFileSync(process.execPath, [cli, 'depth', '--watch', film, '--weights', 'seeded', ...options], { encoding: 'utf8', env });
    const lines = watch('--json').trim().split('\n').map((line) => JSON.parse(line));
    expect(lines.map(({ frame, dropped, seeded }) => [frame, dropped, seeded])).toEqual(upTo(6).map((i) => [i + 1, 0, 'no real depth']));
    expect(watch()).toContain('\n6 frames, 6 estimated, 0 dropped\n');
  });
});

it.skipIf(!missing)('films and cameras through @u4/opencv4nodejs', (context) => context.skip(missing));
