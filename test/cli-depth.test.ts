import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { main } from '../dist/cli/main';
import { mjpegFrames } from '../dist/depth/frames';

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-cli-depth-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

/** Runs the command as the command line would. */
async function run(...args: string[]) {
  const text = { stdout: '', stderr: '' };
  const into = (name: 'stdout' | 'stderr') => new Writable({ write: (chunk, _, done) => ((text[name] += chunk), done()) });
  const code = await main(['depth', ...args], { stdout: into('stdout'), stderr: into('stderr') });
  return { code, ...text };
}

const jpeg = (width: number, height: number, background: string) => sharp({ create: { width, height, channels: 3, background } }).jpeg().toBuffer();
beforeAll(async () => {
  mkdirSync(at('frames'));
  for (const [i, color] of ['red', 'green', 'blue'].entries()) writeFileSync(at(`frames/${i + 8}.jpg`), await jpeg(60 + i, 40, color));
  writeFileSync(at('photo.jpg'), await jpeg(90, 70, 'grey'));
});

describe('photos', () => {
  it('are drawn at their size, and the line says that the weights are seeded', async () => {
    const { code, stdout, stderr } = await run(at('photo.jpg'), '--weights', 'seeded', '--out', at('map.png'));
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/photo\.jpg: (not )?near, \d+\.\d % of the picture {2}\(seeded weights: no real depth\)\n$/);
    expect(await sharp(at('map.png')).metadata()).toMatchObject({ format: 'png', width: 90, height: 70 });
  });

  it('several go into a folder, beside their maps, with a line of JSON each', async () => {
    const photos = [at('photo.jpg'), at('frames/8.jpg')];
    const { code, stdout } = await run(...photos, '--weights', 'seeded', '--out', at('maps'), '--json', '--side-by-side', '--color-map', 'viridis');
    expect(code).toBe(0);
    const lines = stdout.trim().split('\n').map((line) => JSON.parse(line));
    expect(lines).toMatchObject([
      { photo: photos[0], out: at('maps/photo.depth.png'), seeded: 'no real depth', coverage: expect.any(Number), near: expect.any(Boolean) },
      { photo: photos[1], out: at('maps/8.depth.png') },
    ]);
    expect(await sharp(at('maps/8.depth.png')).metadata()).toMatchObject({ width: 120, height: 40 });
  });
});

describe('--watch', () => {
  it('looks at every picture of a folder', async () => {
    const { code, stdout } = await run('--watch', at('frames'), '--weights', 'seeded', '--json');
    expect(code).toBe(0);
    const lines = stdout.trim().split('\n').map((line) => JSON.parse(line));
    expect(lines.map(({ frame, dropped, seeded }) => [frame, dropped, seeded])).toEqual([1, 2, 3].map((frame) => [frame, 0, 'no real depth']));
    const { stdout: text } = await run('--watch', at('frames'), '--weights', 'seeded');
    expect(text).toContain('\n3 frames, 3 estimated, 0 dropped\n');
  });

  it('reads an MJPEG stream, with and without lengths and in pieces of any size', async () => {
    const pictures = [await jpeg(30, 20, 'red'), await jpeg(31, 20, 'green')];
    for (const [boundary, lengths, piece] of [['frame', true, 7], ['--x', false, 1000], ['frame', true, 1e6]] as const) {
      const line = `--${boundary.replace(/^--/, '')}`;
      const body = Buffer.concat([
        ...pictures.flatMap((picture) => {
          const length = lengths ? `Content-Length: ${picture.length}\r\n` : '';
          return [Buffer.from(`${line}\r\nContent-Type: image/jpeg\r\n${length}\r\n`), picture, Buffer.from('\r\n')];
        }),
        Buffer.from(`${line}--\r\n`),
      ]);
      const server = createServer((_, response) => {
        response.writeHead(200, { 'Content-Type': `multipart/x-mixed-replace; boundary=${boundary}` });
        for (let i = 0; i < body.length; i += piece) response.write(body.subarray(i, i + piece));
        response.end();
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const frames: Buffer[] = [];
      for await (const frame of mjpegFrames(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)) frames.push(Buffer.from(frame));
      server.close();
      expect(frames).toEqual(pictures);
    }
  });

  it.each([
    ['/no/such/film.mp4', 'ERR_SOURCE_NOT_FOUND'],
    ['http://127.0.0.1:9/', 'ERR_SOURCE_NOT_FOUND'],
  ])('%s is refused', async (source, code) => {
    expect(await run('--watch', source, '--weights', 'seeded')).toMatchObject({ code: 3, stderr: expect.stringContaining(code) });
  });

  it('a camera without the package for it is refused by the name of the package', async ({ skip }) => {
    try {
      require.resolve('@u4/opencv4nodejs', { paths: [join(__dirname, '../dist')] });
      skip('@u4/opencv4nodejs is installed');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    }
    const { code, stderr } = await run('--watch', '0', '--weights', 'seeded');
    expect([code, stderr]).toEqual([3, expect.stringMatching(/ERR_OPENCV_UNAVAILABLE.*@u4\/opencv4nodejs/)]);
  });
});

describe('arguments', () => {
  it('without weights it says where they are and how to convert them', async () => {
    const { code, stderr } = await run(at('photo.jpg'));
    expect(code).toBe(2);
    for (const text of ['no weights', 'iro-cp/FCRN-DepthPrediction', 'faiss-vision convert', 'seeded']) expect(stderr).toContain(text);
  });

  it.each([
    [['--help'], 0],
    [['--weights', 'seeded'], 2],
    [['a.jpg', '--weights', 'seeded', '--watch', 'b'], 2],
    [['a.jpg', '--weights', 'seeded', '--color-map', 'pink'], 2],
    [['a.jpg', '--colour'], 2],
    [['a.jpg', '--weights', '/no/such'], 3],
    [['a.jpg', '--weights', 'seeded', '--near', 'left'], 2],
    [['a/x.jpg', 'b/x.jpg', '--weights', 'seeded', '--out', '/tmp'], 2],
  ])('%j ends with %i', async (args, code) => {
    const result = await run(...args);
    expect(result.code).toBe(code);
    expect(code === 0 ? result.stdout : result.stderr).not.toBe('');
  });
});
