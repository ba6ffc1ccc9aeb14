import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, test } from 'vitest';
import { drawFaces, type DrawnFace, type ImageInput } from '../lib/image';

const width = 300;
const height = 200;
const grey = Buffer.alloc(width * height * 3, 100);
const page = { data: grey, width, height, channels: 3 as const };

/** The drawn picture, and whether a pixel differs from the even grey below. */
async function draw(faces: DrawnFace[], image: ImageInput = page) {
  const bytes = await drawFaces(image, faces);
  expect((await sharp(bytes).metadata()).format).toBe('png');
  const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
  const pixel = (x: number, y: number) => [...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3)];
  const changed = (x: number, y: number) => pixel(x, y).some((value) => value !== 100);
  return { data, info, pixel, changed };
}

/** The smallest rectangle around every changed pixel that `counts` lets through. */
function extent(drawn: Awaited<ReturnType<typeof draw>>, counts: (x: number, y: number) => boolean = () => true) {
  let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
  for (let y = 0; y < drawn.info.height; y++) {
    for (let x = 0; x < drawn.info.width; x++) {
      if (!drawn.changed(x, y) || !counts(x, y)) continue;
      [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
    }
  }
  return { left, top, right, bottom };
}

const box = { x: 100, y: 80, width: 60, height: 70 };

describe('drawFaces', () => {
  test('without faces gives the picture as it was', async () => {
    const { info, data } = await draw([]);
    expect(info).toMatchObject({ width, height, channels: 3 });
    expect(Buffer.compare(data, grey)).toBe(0);
  });

  test('draws a box where it is, in its colour, and nothing inside', async () => {
    const drawn = await draw([{ box, color: '#ff0000' }]);
    const [r, g, b] = drawn.pixel(100, 115) as [number, number, number];
    expect(r).toBeGreaterThan(200);
    expect(Math.max(g, b)).toBeLessThan(60);
    for (const [x, y] of [[130, 80], [130, 150], [160, 115]] as const) expect(drawn.changed(x, y)).toBe(true);
    for (const [x, y] of [[130, 115], [90, 115], [170, 115], [130, 70], [130, 160]] as const) {
      expect(drawn.changed(x, y)).toBe(false);
    }
  });

  test('draws each landmark', async () => {
    const drawn = await draw([{ box, landmarks: [[120, 100], [140, 130]] }]);
    expect(drawn.changed(120, 100) && drawn.changed(140, 130)).toBe(true);
    expect(drawn.changed(130, 115)).toBe(false);
  });

  test('draws a label above the box, longer for a longer text', async () => {
    const above = (x: number, y: number) => y < 75;
    const short = extent(await draw([{ box, label: 'Ada' }]), above);
    const long = extent(await draw([{ box, label: 'Ada Lovelace' }]), above);
    expect(short.right).toBeGreaterThan(short.left + 10);
    expect(long.right).toBeGreaterThan(short.right + 10);
  });

  test('letters differ from one another, in every script of the font', async () => {
    const pictures = await Promise.all(
      ['A', 'B', 'Ł', 'Ж', 'Ω', 'ễ', '1', '?', '漢'].map(async (label) => (await draw([{ box, label }])).data.toString('latin1')),
    );
    expect(new Set(pictures).size).toBe(pictures.length);
  });

  test.each([
    ['top left', { x: -20, y: -30, width: 80, height: 80 }],
    ['top right', { x: 250, y: 2, width: 80, height: 80 }],
    ['bottom right', { x: 250, y: 150, width: 80, height: 80 }],
    ['everywhere', { x: 0, y: 0, width, height }],
  ])('keeps a label inside the picture: %s', async (_, at) => {
    // A label cut off at the edge would change fewer pixels than one with room all around.
    const cornered = await labelPixels(at);
    const roomy = await labelPixels({ x: 110, y: 80, width: 80, height: 80 });
    expect(roomy).toBeGreaterThan(500);
    expect(cornered / roomy).toBeGreaterThan(0.8);
  });

  /** How many pixels the label of a box changes. */
  async function labelPixels(at: DrawnFace['box']): Promise<number> {
    const [bare, labelled] = [await draw([{ box: at }]), await draw([{ box: at, label: 'Ada Lovelace\n0.98' }])];
    let count = 0;
    for (let i = 0; i < bare.data.length; i += 3) {
      if (bare.data.compare(labelled.data, i, i + 3, i, i + 3) !== 0) count++;
    }
    return count;
  }

  test('does not hide a face behind the label of the one below', async () => {
    const upper = { x: 100, y: 20, width: 60, height: 60 };
    const lower = { x: 100, y: 90, width: 60, height: 60 };
    const drawn = await draw([{ box: upper }, { box: lower, label: 'Ada\n0.98' }]);
    expect(extent(drawn, (x, y) => x > 104 && x < 156 && y > 24 && y < 76)).toMatchObject({ bottom: -1 });
    expect(extent(drawn, (_, y) => y > 155).bottom).toBeGreaterThan(165);
  });

  test('shrinks a label that is longer than the picture', async () => {
    const drawn = await draw([{ box, label: 'An unusually long name, '.repeat(10) }]);
    const { left, right } = extent(drawn, (_, y) => y < 75);
    expect(right - left).toBeGreaterThan(width - 5);
  });

  test('lines grow with the picture', async () => {
    const large = { data: Buffer.alloc(3000 * 2000 * 3, 100), width: 3000, height: 2000, channels: 3 as const };
    const at = { x: 1000, y: 800, width: 600, height: 700 };
    const thickness = async (image: ImageInput, face: DrawnFace['box'], row: number) => {
      const { changed } = await draw([{ box: face }], image);
      return Array.from({ length: face.x + face.width / 2 }, (_, x) => changed(x, row)).filter(Boolean).length;
    };
    expect(await thickness(large, at, 1150)).toBeGreaterThan(2 * (await thickness(page, box, 115)));
  });
});

describe('drawFaces takes', () => {
  test('a 1 x 1 picture', async () => {
    const one = { data: new Uint8Array([9, 9, 9]), width: 1, height: 1, channels: 3 as const };
    expect((await draw([{ box, landmarks: [[0, 0]], label: 'Ada' }], one)).info).toMatchObject({ width: 1, height: 1 });
  });

  test('a turned JPEG, drawn upright', async () => {
    const turned = await sharp(grey, { raw: { width, height, channels: 3 } }).withMetadata({ orientation: 8 }).jpeg().toBuffer();
    expect((await draw([{ box }], turned)).info).toMatchObject({ width: height, height: width });
  });

  test('blue first, and rows with gaps', async () => {
    const data = Buffer.from([3, 2, 1, 6, 5, 4, 0, 0, 9, 8, 7, 12, 11, 10]);
    const drawn = await draw([], { data, width: 2, height: 2, channels: 3, order: 'bgr', stride: 8 });
    expect([...drawn.data]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });

  test('grey and opacity: the output has colours and is over white', async () => {
    const one = await draw([{ box, color: '#ff0000' }], { data: Buffer.alloc(width * height, 100), width, height, channels: 1 });
    expect(one.pixel(100, 115)[0]).toBeGreaterThan(200);
    expect(one.pixel(5, 5)).toEqual([100, 100, 100]);
    const glass = { data: Buffer.from([0, 0, 0, 0, 50, 60, 70, 255]), width: 2, height: 1, channels: 4 as const };
    expect([...(await draw([], glass)).data]).toEqual([255, 255, 255, 50, 60, 70]);
  });
});

describe('drawFaces refuses', () => {
  test.each([
    ['faces', 'Ada'],
    ['faces[0]', [null]],
    ['faces[0].box', [{}]],
    ['faces[1].box', [{ box }, { box: { ...box, x: NaN } }]],
    ['faces[0].box', [{ box: { ...box, width: '60' } }]],
    ['faces[0].landmarks', [{ box, landmarks: [[1, 2, 3]] }]],
    ['faces[0].landmarks', [{ box, landmarks: [[1, Infinity]] }]],
    ['faces[0].label', [{ box, label: 7 }]],
    ['faces[0].color', [{ box, color: 'red' }]],
    ['faces[0].color', [{ box, color: '#ff0000"/><script/>' }]],
  ])('%s: %o', async (name, faces) => {
    const error = await drawFaces(page, faces as never).catch((reason) => reason);
    expect(error).toMatchObject({ code: 'ERR_INVALID_ARGUMENT', message: expect.stringContaining(`\`${name}\` must`) });
  });

  test('a side that the renderer cannot draw', async () => {
    const long = { data: Buffer.alloc(40_000), width: 40_000, height: 1, channels: 1 as const };
    await expect(drawFaces(long, [])).rejects.toMatchObject({ code: 'ERR_IMAGE_TOO_LARGE' });
  });
});

describe('on a machine with nothing', () => {
  const run = (code: string) => {
    // As on a bare system: no font configuration, and nobody's fonts.
    const env = { ...process.env, FONTCONFIG_FILE: '/nonexistent', FONTCONFIG_PATH: '/nonexistent', HOME: '/nonexistent' };
    return spawnSync(process.execPath, ['-e', code], { cwd: join(__dirname, '..'), env, encoding: 'utf8' });
  };

  test('labels need no fonts', async () => {
    const { stdout, stderr, status } = run(`
      const { drawFaces } = require('./dist/image');
      const page = { data: Buffer.alloc(${width * height * 3}, 100), width: ${width}, height: ${height}, channels: 3 };
      drawFaces(page, [{ box: ${JSON.stringify(box)}, label: 'Ada' }]).then((png) => console.log(png.toString('base64')));
    `);
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
    expect(Buffer.from(stdout, 'base64')).toEqual(await drawFaces(page, [{ box, label: 'Ada' }]));
  });

  test('importing loads neither sharp nor a font', () => {
    const { stdout, stderr } = run(`
      require('./dist/image');
      console.log(Object.keys(require.cache).filter((file) => /node_modules|\\.node$/.test(file)).length);
    `);
    expect({ stdout, stderr }).toEqual({ stdout: '0\n', stderr: '' });
  });
});
