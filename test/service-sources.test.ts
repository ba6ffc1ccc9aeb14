import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ImageInput } from '../dist/index.js';
import { FaissVisionError } from '../packages/service/dist/error.js';
import { cleaned, deviceOf, withoutPassword } from '../packages/service/dist/sources/address.js';
import { Backoff } from '../packages/service/dist/sources/backoff.js';
import { Camera, type CameraStatus } from '../packages/service/dist/sources/camera.js';
import { openSource } from '../packages/service/dist/sources/open.js';
import { hasOpenCv } from '../packages/service/dist/sources/opencv.js';
import { mjpegServer } from '../scripts/service/mjpeg.mjs';
import { freePort } from './support/broker.js';
import { ffmpeg, makeFilm } from './support/rtsp.js';
import { RunningService, visits } from './support/service.js';
import { until } from './support/wait.js';

const config = (source: string, more = {}) =>
  ({ id: 'c', source, reader: 'auto' as const, fps: 10, repeat: false, faces: true, depth: false, stallAfter: 10, lostAfter: 30, ...more });

/** A camera and what it told, in short. */
function watch(source: string, more = {}, options = {}) {
  const camera = new Camera(config(source, more), { backoff: new Backoff(20, 100), ...options });
  const told: string[] = [];
  const frames: ImageInput[] = [];
  camera.on('state', ({ state, reason }: CameraStatus) => told.push(reason === undefined ? state : `${state}: ${reason}`));
  camera.on('lost', () => told.push('LOST')).on('back', () => told.push('BACK')).on('frame', (frame) => frames.push(frame));
  camera.start();
  cameras.push(camera);
  return { camera, told, frames };
}
const cameras: Camera[] = [];
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(cameras.splice(0).map((camera) => camera.stop()));
});

describe('a camera over HTTP', () => {
  it('goes live, is lost when the cable is pulled, told once, and comes back', async () => {
    const jpegs = await visits();
    const port = await freePort();
    let server = await mjpegServer(jpegs, { port });
    const { camera, told, frames } = watch(server.url);
    expect(camera.status.state).toBe('starting');
    await until('frames come', () => frames.length >= 3);
    await server.close();
    await until('several attempts have failed', () => told.filter((line) => line.startsWith('lost')).length >= 1 && told.at(-1)!.includes('does not answer'));
    server = await mjpegServer(jpegs, { port });
    await until('it is back', () => told.includes('BACK'));
    await server.close();
    expect(told[0]).toBe('live');
    expect(told.filter((line) => line === 'LOST')).toHaveLength(1);
    expect(told.indexOf('LOST')).toBeLessThan(told.indexOf('BACK'));
    expect(Buffer.from(frames[0] as Uint8Array).readUInt16BE()).toBe(0xffd8);
  });

  /** A camera that sends one picture and nothing more, watched on a clock that goes on by itself alone. */
  async function oneFrame(more: object) {
    const [jpeg] = (await visits()) as [Buffer];
    const { url, close } = await serve((response) => {
      response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace; boundary=b' });
      response.write(`--b\r\nContent-Length: ${jpeg.length}\r\n\r\n`);
      response.write(jpeg);
    });
    vi.useFakeTimers({ toFake: ['Date', 'performance', 'setInterval', 'clearInterval'] });
    const { told, frames } = watch(url, more);
    await until('a frame came', () => frames.length > 0);
    return { told, close };
  }

  it('that goes silent is stalled, then lost', async () => {
    const { told, close } = await oneFrame({ stallAfter: 0.5, lostAfter: 1.5 });
    await vi.advanceTimersByTimeAsync(499);
    expect(told).toEqual(['live']);
    await vi.advanceTimersByTimeAsync(200);
    expect(told).toEqual(['live', 'stalled: no frame for 0.5 s']);
    await vi.advanceTimersByTimeAsync(900);
    vi.useRealTimers();
    await until('it is lost', () => told.includes('LOST'));
    expect(told.slice(2, 4)).toEqual(['lost: no frame for 1.5 s', 'LOST']);
    await close();
  });

  it('is not lost where the clock of the machine is set', async () => {
    const { told, close } = await oneFrame({ stallAfter: 2, lostAfter: 10 }); // which is looked at twice a second
    vi.setSystemTime(Date.now() + 3600_000);
    await vi.advanceTimersByTimeAsync(1900);
    expect(told).toEqual(['live']);
    await vi.advanceTimersByTimeAsync(600);
    expect(told).toEqual(['live', 'stalled: no frame for 2 s']);
    vi.useRealTimers();
    await close();
  });

  it('sends its password in a header, and in no message', async () => {
    const seen: (string | undefined)[] = [];
    const { url, close } = await serve((response, authorization) => {
      seen.push(authorization);
      response.writeHead(401).end();
    });
    const { told } = watch(url.replace('//', '//ada:s%40cret@'));
    await until('it was refused', () => told.length > 0);
    expect(seen[0]).toBe(`Basic ${Buffer.from('ada:s@cret').toString('base64')}`);
    expect(told[0]).toMatch(/^lost: http:\/\/127.* answers 401/);
    expect(told[0]).not.toContain('cret');
    await close();
  });

  it.each([50, 25])('of %i frames a second gives as many as asked for', async (rate) => {
    vi.useFakeTimers({ toFake: ['performance'] });
    async function* frames(): AsyncGenerator<ImageInput> {
      for (let i = 0; i < 3 * rate; i++) {
        yield Buffer.of(i);
        vi.advanceTimersByTime(1000 / rate);
      }
    }
    const { camera, told, frames: given } = watch('film.mp4', { fps: 10 }, { open: frames });
    await until('it is over', () => told.includes('LOST'));
    expect([camera.received, camera.skipped]).toEqual([3 * rate, 3 * rate - given.length]);
    expect([30, 31]).toContain(given.length); // three seconds' worth
  });
});

it('frames that cannot be decoded are counted, and told of once', async () => {
  const server = await mjpegServer([Buffer.concat([Buffer.from([0xff, 0xd8]), Buffer.from('no picture')])]);
  const service = new RunningService({ cameras: [{ id: 'door', source: server.url }] });
  try {
    await service.start();
    const told = () => service.said.match(/"reason":"a frame cannot be decoded: .*"a frame failed"/g) ?? [];
    await until('some have failed', async () => (await service.call('GET', '/v1/cameras/door')).body.frames.failed >= 5);
    await until('it is told', () => told().length > 0);
    expect(told()).toHaveLength(1);
  } finally {
    await service.close();
    await server.close();
  }
});

describe('other sources', () => {
  it('a folder is read at its pace and ends, or repeats', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-folder-'));
    for (const [i, jpeg] of (await visits()).slice(0, 3).entries()) writeFileSync(join(folder, `${i}.jpg`), jpeg);
    const { told, frames } = watch(folder, { fps: 20 });
    await until('it is over', () => told.includes('LOST'));
    expect([told, frames.length]).toEqual([['live', 'lost: the film is over', 'LOST'], 3]);
    const again = watch(folder, { fps: 20, repeat: true });
    await until('it was read twice', () => again.frames.length >= 6);
    rmSync(folder, { recursive: true });
  });

  it('what is not there is lost, with the reason', async () => {
    const { told } = watch('/nowhere/film.mp4');
    await until('it is lost', () => told.includes('LOST'));
    expect(told[0]).toBe('lost: there is no film and no folder "/nowhere/film.mp4"');
  });

  it.skipIf(hasOpenCv())('without OpenCV a camera that needs it says what to install', async () => {
    const { told } = watch('rtsp://ada:secret@127.0.0.1:9/x', { reader: 'opencv' });
    await until('it is lost', () => told.includes('LOST'));
    expect(told[0]).toBe('lost: "rtsp://127.0.0.1:9/x" needs the package @u4/opencv4nodejs, which is not installed');
  });

  it('an error of the source’s own is told without the password', async () => {
    async function* broken(): AsyncGenerator<ImageInput> {
      throw new FaissVisionError('ERR_SOURCE_FAILED', 'cannot open rtsp://ada:secret@h/1');
    }
    const { told } = watch('rtsp://ada:secret@h/1', {}, { open: broken });
    await until('it is lost', () => told.includes('LOST'));
    expect(told[0]).toBe('lost: cannot open rtsp://h/1');
    expect([withoutPassword('rtsp://a:b@c@h/x'), cleaned('x://u:p@h failed', 'y')]).toEqual(['rtsp://h/x', 'x://h failed']);
    expect(withoutPassword('http://h/v.cgi?user=ada&pwd=s&channel=1')).toBe('http://h/v.cgi?user=...&pwd=...&channel=1');
  });

  it('a password in the query is told nowhere either', async () => {
    const { told } = watch(`http://127.0.0.1:${await freePort()}/videostream.cgi?user=ada&pwd=s3cret&rate=0`);
    await until('it is lost', () => told.includes('LOST'));
    expect(told[0]).toMatch(/^lost: http:.*videostream\.cgi\?user=\.\.\.&pwd=\.\.\.&rate=0 does not answer$/);
  });

  it('a USB camera is its number or its file', () => {
    expect(['0', '12', '/dev/video3', '/dev/v4l/by-id/usb-cam-index0', '/dev/shm/film.mp4', 'film.mp4', 'rtsp://h/0'].map(deviceOf)).toEqual([
      '/dev/video0',
      '/dev/video12',
      '/dev/video3',
      '/dev/v4l/by-id/usb-cam-index0',
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe.skipIf(ffmpeg === undefined)('through ffmpeg', () => {
  it('a film is read at its own pace to its end', async () => {
    const { film, remove } = await makeFilm();
    const all = (await visits()).length;
    const begin = performance.now();
    const { camera, told } = watch(film, { reader: 'ffmpeg' });
    await until('it is over', () => told.includes('LOST'));
    expect(told).toEqual(['live', 'lost: the film is over', 'LOST']);
    // ffmpeg looks at the first ten to know what is in the film.
    expect(camera.received).toBeGreaterThanOrEqual(all - 12);
    expect(camera.received).toBeLessThanOrEqual(all + 2);
    expect(performance.now() - begin).toBeGreaterThan(all * 100 * 0.7); // ten frames a second, and not as fast as it can be read
    remove();
  });

  it.each(['987', '/dev/v4l/by-id/usb-that-is-unplugged'])('a USB camera that is not there is lost, with the reason, and tried again: %s', async (source) => {
    let tries = 0;
    const { camera, told } = watch(source, { reader: 'ffmpeg' }, { open: (...given: Parameters<typeof openSource>) => (tries++, openSource(...given)) });
    await until('it was tried twice', () => tries >= 2);
    expect(told[0]).toMatch(/^lost: ffmpeg: .*\/dev\/v\S+: No such file or directory$/);
    expect(camera.status.state).toBe('lost');
  });

  it('an RTSP address where nobody is: lost, with ffmpeg’s reason', async () => {
    const { told } = watch(`rtsp://ada:secret@127.0.0.1:${await freePort()}/x`, { reader: 'ffmpeg' });
    await until('it is lost', () => told.includes('LOST'));
    expect(told[0]).toMatch(/^lost: ffmpeg: .*refused/i);
    expect(told[0]).not.toContain('secret');
  });
});

async function serve(answer: (response: ServerResponse, authorization: string | undefined) => void): Promise<{ url: string; close(): Promise<void> }> {
  const server: Server = createServer((request, response) => answer(response, request.headers.authorization));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
