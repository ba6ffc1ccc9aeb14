import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { mjpegServer } from '../scripts/service/mjpeg.mjs';
import { freePort } from './support/broker.js';
import { afterwards, closed } from './support/closing.js';
import { loadOpenCv, opencvModules } from './support/opencv.js';
import { ffmpeg, makeFilm, rtspServer, vlc } from './support/rtsp.js';
import { RunningService, visits } from './support/service.js';
import { until } from './support/wait.js';

const { missing } = loadOpenCv();
// As if it were installed beside the packages that the service's process loads.
process.env.NODE_PATH = opencvModules;
delete process.env.OPENCV4NODEJS_DISABLE_AUTOBUILD;

const serving = (cameras: object[]) =>
  closed(new RunningService({ cameras: cameras.map((camera) => ({ reader: 'opencv', ...camera })), decision: { unknownFrames: 3, leftAfter: 0.8 } })).start();
const camera = async (service: RunningService, id: string) => (await service.call('GET', `/v1/cameras/${id}`)).body;

describe.skipIf(missing || ffmpeg === undefined)('VideoCapture of @u4/opencv4nodejs in the service (with ffmpeg)', () => {
  it('recognises who comes in a film, at its pace and to its end, in an MJPEG stream, and over RTSP from VLC', async () => {
    const { film, folder, remove } = await makeFilm(2);
    afterwards(remove);
    const mjpeg = closed(await mjpegServer(await visits(), { fps: 10 }));
    const sources: Record<string, string> = { film, mjpeg: mjpeg.url, ...(vlc ? { rtsp: closed(await rtspServer(film, folder)).url } : {}) };
    const service = await serving(Object.entries(sources).map(([id, source]) => ({ id, source })));
    await service.enroll('Obama', 'obama.jpg');
    for (const id of Object.keys(sources)) {
      await until(`Obama and somebody else came and went (${id})`, async () => {
        const types = (await service.events()).filter((event) => event.camera === id).map(({ type, person }) => (person ? `${type} ${person.name}` : type));
        return ['recognised Obama', 'left Obama', 'unknown', 'left'].every((type) => types.includes(type));
      });
    }
    await until('the film is over', async () => (await camera(service, 'film')).state === 'lost');
    const { reason, frames } = await camera(service, 'film');
    expect(reason).toBe('the film is over');
    const all = 2 * (await visits()).length;
    expect(frames.received).toBeGreaterThan(all * 0.5);
    expect(frames.received).toBeLessThanOrEqual(all);
    // VLC's end of a film ends its session as well.
    const lost = (await service.events()).filter((event) => event.type === 'camera-lost' && event.camera !== 'rtsp');
    expect(lost.map((event) => event.camera)).toEqual(['film']);
    expect(await service.stop()).toBe(0);
  });

  it('tells why a camera cannot be opened, and no password anywhere', async () => {
    const service = await serving([{ id: 'nobody', source: `rtsp://ada:s3cret@127.0.0.1:${await freePort()}/x` }]);
    await until('it is lost', async () => (await camera(service, 'nobody')).state === 'lost');
    const { reason, source } = await camera(service, 'nobody');
    expect(source).not.toContain('s3cret');
    expect(reason).toContain('cannot be opened by OpenCV');
    // OpenCV itself would write the address to standard error.
    expect(service.said + reason).not.toContain('s3cret');
  });

  it('a camera that never answers keeps neither the service nor its end waiting', async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    afterwards(() => silent.close());
    const { port } = silent.address() as { port: number };
    const service = await serving([{ id: 'silent', source: `rtsp://127.0.0.1:${port}/x`, stallAfter: 1, lostAfter: 2 }]);
    await until('it is lost', async () => (await camera(service, 'silent')).state === 'lost');
    expect((await camera(service, 'silent')).reason).toBe('no frame for 2 s');
    const begin = Date.now();
    expect([0, 'SIGTERM']).toContain(await service.stop());
    // OpenCV gives up after 30 s.
    expect(Date.now() - begin).toBeLessThan(20_000);
    expect(service.said).toContain('the service stopped');
  });
});

it.skipIf(!missing)('cameras through @u4/opencv4nodejs', (context) => context.skip(missing));
