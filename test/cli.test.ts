import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { FaceRecognizer, type Face } from 'faiss-vision/face';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { modelsFolder, photosFolder } from '../dist/models/cache';
import { seededFacenet } from './support/seeded-weights';
import { score } from './support/vectors';

const main = join(__dirname, '..', JSON.parse(readFileSync(join(__dirname, '../package.json'), 'utf8')).bin['faiss-vision']);
const photo = (name: string) => join(photosFolder(), 'face_recognition', name);

interface Answer {
  code: number | null;
  stdout: string;
  stderr: string;
}

let folder: string;
let expected: Map<string, Face[]>;

/** Runs the real command in a process of its own, in `folder`. */
function run(...args: string[]): Promise<Answer> {
  return execute(process.execPath, [main, ...args]);
}

function execute(command: string, args: string[], env: Record<string, string> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: folder, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const answer: Answer = { code: null, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (answer.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (answer.stderr += text));
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...answer, code }));
  });
}

const inPhoto = (name: string) => expected.get(name)!;
const plain = ({ box, score, landmarks }: Face) => ({ box, score, landmarks });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'faiss-vision-cli-'));
  const recognizer = await FaceRecognizer.load({ model: 'resnet128' });
  expected = new Map();
  for (const name of ['obama.jpg', 'obama2.jpg', 'biden.jpg']) {
    cpSync(photo(name), join(folder, name));
    expected.set(name, await recognizer.faces(photo(name)));
  }
  cpSync(photo('biden.jpg'), join(folder, 'b[1].jpg'));
  await sharp({ create: { width: 200, height: 150, channels: 3, background: '#6b8cae' } }).png().toFile(join(folder, 'sky.png'));
  writeFileSync(join(folder, 'broken.jpg'), readFileSync(photo('biden.jpg')).subarray(0, 20_000));
  await recognizer.close();
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('faiss-vision', () => {
  it('lists its commands, and each says how it is used', async () => {
    const { code, stdout, stderr } = await run('--help');
    expect([code, stderr]).toEqual([0, '']);
    const names = [...stdout.matchAll(/^ {2}(\w+) {3,}\S/gm)].map(([, name]) => name!);
    expect(names).toEqual(expect.arrayContaining(['detect', 'embed', 'verify', 'evaluate', 'models', 'convert']));
    for (const name of names) {
      for (const args of [[name, '--help'], ['help', name]]) {
        const usage = await run(...args);
        expect([usage.code, usage.stderr]).toEqual([0, '']);
        expect(usage.stdout).toMatch(new RegExp(`^usage: faiss-vision ${name}\\b`));
      }
    }
    expect((await run('--version')).stdout.trim()).toBe(JSON.parse(readFileSync(join(__dirname, '../package.json'), 'utf8')).version);
  });

  it.each([
    [[], /a command is missing/],
    [['recognise'], /there is no command "recognise"/],
    [['detect'], /a photo is missing/],
    [['detect', '--colour', 'obama.jpg'], /--colour/],
    [['detect', 'obama.jpg', '--min-face-size', 'small'], /--min-face-size must be a number of at least 6, got "small"/],
    [['detect', 'obama.jpg', '--min-face-size', '5'], /--min-face-size must be a number of at least 6, got "5"/],
    [['detect', 'obama.jpg', '--max-faces', '1.5'], /--max-faces must be a whole number/],
    [['detect', 'obama.jpg', 'biden.jpg', '--draw', 'one.png'], /one file for 2 photos/],
    [['detect', 'biden.jpg', '--draw', 'biden.jpg'], /over that of biden\.jpg/],
    [['embed', 'obama.jpg', '--out', 'features.txt'], /must end in \.npy or \.json/],
    [['verify', 'obama.jpg'], /two photos, got 1/],
    [['evaluate'], /one list of pairs, got 0/],
    [['convert', 'a.pt'], /two files, got 1/],
    [['convert', 'a.pt', 'b.bin'], /must end in \.safetensors/],
    [['models', 'fetch', 'alexnet'], /no model "alexnet"/],
    [['models', 'fetch', 'mtcnn', '--from', 'x'], /mtcnn comes from a package/],
  ])('%j is a mistake in the call: 2', async (args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^faiss-vision: ERR_USAGE: /);
    expect(stderr).toMatch(message);
  });

  it('takes a model that it does not know for a mistake in the call too', async () => {
    const { code, stderr } = await run('detect', 'biden.jpg', '--model', 'alexnet');
    expect(code).toBe(2);
    expect(stderr).toMatch(/^faiss-vision: ERR_UNKNOWN_MODEL: .*alexnet/);
  });

  it('names weights that are not there: 3', async () => {
    const { code, stderr } = await run('detect', 'biden.jpg', '--weights', 'none.safetensors');
    expect(code).toBe(3);
    expect(stderr).toMatch(/^faiss-vision: ERR_WEIGHTS_NOT_FOUND: .*none\.safetensors/);
  });
});

describe('detect', () => {
  it('prints a table of the faces, and expands what the shell did not', async () => {
    const { code, stdout, stderr } = await run('detect', 'obama*.jpg', 'biden.jpg', 'obama.jpg');
    expect([code, stderr]).toEqual([0, '']);
    const rows = ['obama.jpg', 'obama2.jpg', 'biden.jpg'].flatMap((name) =>
      inPhoto(name).map(({ box, score }, i) => {
        const [left, top, width, height] = [box.x, box.y, box.width, box.height].map(Math.round);
        return [name, `${i + 1} of ${inPhoto(name).length}`, `left ${left}, top ${top}, ${width} x ${height}`, score.toFixed(4)];
      }),
    );
    const [head, ...lines] = stdout.trimEnd().split('\n').map((line) => line.trim().split(/ {3,}/));
    expect(head).toEqual(['Photo', 'Face', 'Box', 'Score']);
    expect(lines).toEqual(rows);
  });

  it('takes a file for itself, whatever its name looks like', async () => {
    const { code, stdout } = await run('detect', 'b[1].jpg', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual([{ photo: 'b[1].jpg', faces: inPhoto('biden.jpg').map(plain) }]);
    const absolute = await run('detect', join(folder, 'obama[2].jpg'), '--json');
    expect(JSON.parse(absolute.stdout)[0].photo).toBe(join(folder, 'obama2.jpg'));
  });

  it('spells out what a name would do to lines and terminals', async () => {
    const name = 'two\nlines \x1b[31m.jpg';
    cpSync(photo('biden.jpg'), join(folder, name));
    const { code, stdout, stderr } = await run('detect', name, '--draw', 'drawn-odd/', 'no\nfile.jpg');
    expect(code).toBe(3);
    expect(stdout).toMatch(/^ .*\n {2}two\\nlines \\x1b\[31m\.jpg +1 of 1 .*\n {2}drew drawn-odd\/two\\nlines \\x1b\[31m\.png\n$/);
    expect(stderr).toMatch(/^faiss-vision: ERR_IMAGE_NOT_FOUND: [^\x1b]*\n$/);
    const json = await run('detect', name, '--json');
    expect(JSON.parse(json.stdout)[0].photo).toBe(name);
    rmSync(join(folder, name));
  });

  it('--json has every photo and every face, and the largest alone where asked for', async () => {
    expect(inPhoto('obama.jpg').length).toBeGreaterThan(1);
    for (const [option, count] of [[[], Infinity], [['--largest'], 1], [['--max-faces', '1'], 1]] as const) {
      const { code, stdout } = await run('detect', 'obama.jpg', 'sky.png', '--json', ...option);
      expect(code).toBe(0);
      expect(JSON.parse(stdout)).toEqual([
        { photo: 'obama.jpg', faces: inPhoto('obama.jpg').slice(0, count).map(plain) },
        { photo: 'sky.png', faces: [] },
      ]);
    }
  });

  it('passes the smallest face on', async () => {
    const { stdout } = await run('detect', 'obama.jpg', '--json', '--min-face-size', '100');
    const recognizer = await FaceRecognizer.load({ model: 'resnet128', minFaceSize: 100 });
    expect(JSON.parse(stdout)[0].faces).toEqual((await recognizer.faces(photo('obama.jpg'))).map(plain));
    await recognizer.close();
  });

  it('ends with 1 where there is no face', async () => {
    const { code, stdout, stderr } = await run('detect', 'sky.png');
    expect([code, stderr]).toEqual([1, '']);
    expect(stdout).toMatch(/sky\.png +none/);
  });

  it('ends with 3 where a file fails, names it, and does the others', async () => {
    const { code, stdout, stderr } = await run('detect', 'broken.jpg', 'gone.jpg', 'no*.jpg', 'biden.jpg', '--json');
    expect(code).toBe(3);
    const answers = JSON.parse(stdout);
    expect(answers.map(({ photo, error }: { photo: string; error?: { code: string } }) => [photo, error?.code])).toEqual([
      ['broken.jpg', 'ERR_IMAGE_DECODE'],
      ['gone.jpg', 'ERR_IMAGE_NOT_FOUND'],
      ['no*.jpg', 'ERR_IMAGE_NOT_FOUND'],
      ['biden.jpg', undefined],
    ]);
    expect(answers[3].faces).toEqual(inPhoto('biden.jpg').map(plain));
    const complaints = stderr.trimEnd().split('\n');
    expect(complaints).toEqual([
      expect.stringMatching(/^faiss-vision: ERR_IMAGE_DECODE: .*broken\.jpg/),
      expect.stringMatching(/^faiss-vision: ERR_IMAGE_NOT_FOUND: .*gone\.jpg/),
      expect.stringMatching(/^faiss-vision: ERR_IMAGE_NOT_FOUND: .*no\*\.jpg/),
    ]);
  });

  it('draws one photo into a file, several into a folder or by name', async () => {
    expect((await run('detect', 'biden.jpg', '--draw', 'one.png')).code).toBe(0);
    expect((await run('detect', 'biden.jpg', 'obama2.jpg', '--draw', 'pictures')).code).toBe(0);
    expect((await run('detect', 'biden.jpg', 'obama2.jpg', '--draw', 'named/{name}-faces.png')).code).toBe(0);
    expect(readdirSync(join(folder, 'pictures')).sort()).toEqual(['biden.png', 'obama2.png']);
    expect(readdirSync(join(folder, 'named')).sort()).toEqual(['biden-faces.png', 'obama2-faces.png']);

    const pixels = (name: string) => sharp(join(folder, name)).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    const [before, after] = await Promise.all(['biden.jpg', 'one.png'].map(pixels));
    expect([after!.info.width, after!.info.height]).toEqual([before!.info.width, before!.info.height]);
    // The frame is drawn on the box's left edge, and the picture's corner is as it was.
    const { box } = inPhoto('biden.jpg')[0]!;
    const pixel = ({ data, info }: { data: Buffer; info: sharp.OutputInfo }, x: number, y: number) => {
      const at = (y * info.width + x) * 3;
      return [...data.subarray(at, at + 3)];
    };
    const edge: [number, number] = [Math.round(box.x), Math.round(box.y + box.height / 2)];
    expect(pixel(after!, ...edge)).toEqual([0x3d, 0xdc, 0x97]);
    expect(pixel(after!, 2, 2)).toEqual(pixel(before!, 2, 2));
    expect(readFileSync(join(folder, 'pictures', 'biden.png')).equals(readFileSync(join(folder, 'one.png')))).toBe(true);
  });

  it('refuses to draw two photos into one file', async () => {
    mkdirSync(join(folder, 'other'), { recursive: true });
    cpSync(photo('biden.jpg'), join(folder, 'other', 'biden.jpg'));
    const { code, stderr } = await run('detect', 'biden.jpg', 'other/biden.jpg', '--draw', 'clash');
    expect([code, existsSync(join(folder, 'clash'))]).toEqual([2, false]);
    expect(stderr).toMatch(/clash\/biden\.png for other\/biden\.jpg over that of biden\.jpg/);
  });

  it('shows a bar in a terminal, over several files alone, and only on standard error', async () => {
    const pty = 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)';
    const inTerminal = (...photos: string[]) =>
      execute('python3', ['-c', pty, 'sh', '-c', '"$0" "$@" > answers.json', process.execPath, main, 'detect', '--json', ...photos], { TERM: 'xterm' });
    const several = await inTerminal('biden.jpg', 'obama2.jpg');
    expect(several.code).toBe(0);
    expect(several.stdout).toMatch(/photos \[.*\] 100 % \| 2 of 2/);
    expect(JSON.parse(readFileSync(join(folder, 'answers.json'), 'utf8'))).toHaveLength(2);
    expect((await inTerminal('biden.jpg')).stdout).not.toContain('photos [');
    expect((await run('detect', 'biden.jpg', 'obama2.jpg')).stderr).toBe('');
  });
});

describe('embed', () => {
  const rows = () => ['obama.jpg', 'biden.jpg'].flatMap((name) => inPhoto(name).map(({ features }) => [...features]));

  it('prints and writes the features of each face as JSON', async () => {
    const { code, stdout } = await run('embed', 'obama.jpg', 'biden.jpg', '--json', '--out', 'features.json');
    expect(code).toBe(0);
    expect(readFileSync(join(folder, 'features.json'), 'utf8')).toBe(stdout);
    const faces = JSON.parse(stdout).flatMap(({ faces }: { faces: { row: number; features: number[] }[] }) => faces);
    expect(faces.map(({ row }: { row: number }) => row)).toEqual([0, 1, 2]);
    expect(faces.map(({ features }: { features: number[] }) => features)).toEqual(rows());
  });

  it('writes a NumPy matrix with one row for each face', async () => {
    const { code, stdout } = await run('embed', 'obama.jpg', 'sky.png', 'biden.jpg', '--out', 'features.npy');
    expect(code).toBe(0);
    expect(stdout).toContain('wrote features.npy (3 faces)');
    const bytes = readFileSync(join(folder, 'features.npy'));
    expect([...bytes.subarray(0, 8)]).toEqual([0x93, ...Buffer.from('NUMPY'), 1, 0]);
    const start = 10 + bytes.readUInt16LE(8);
    expect(start % 64).toBe(0);
    expect(bytes.toString('latin1', 10, start)).toMatch(/^\{'descr': '<f4', 'fortran_order': False, 'shape': \(3, 128\), \} *\n$/);
    const numbers = new Float32Array(new Uint8Array(bytes.subarray(start)).buffer);
    expect([...numbers]).toEqual(rows().flat());
  });

  it('takes FaceNet, with weights of one\'s own, and says how to get the official ones', async () => {
    const weights = await seededFacenet();
    const recognizer = await FaceRecognizer.load({ model: 'facenet', weights: weights.file });
    const { code, stdout } = await run('embed', 'biden.jpg', '--json', '--model', 'facenet', '--weights', weights.file);
    expect(code).toBe(0);
    const [face] = await recognizer.faces(photo('biden.jpg'));
    expect(face!.features).toHaveLength(512);
    expect(JSON.parse(stdout)[0].faces[0].features).toEqual([...face!.features]);
    await recognizer.close();
    const missing = await execute(process.execPath, [main, 'embed', 'biden.jpg', '--model', 'facenet'], { FAISS_VISION_MODELS: weights.folder });
    expect(missing.code).toBe(3);
    expect(missing.stderr).toMatch(/^faiss-vision: ERR_WEIGHTS_NOT_FOUND: .*faiss-vision models fetch facenet-vggface2/);
    weights.remove();
  });

  it('ends with 1 without a face, and with 3 where it cannot write', async () => {
    expect((await run('embed', 'sky.png')).code).toBe(1);
    for (const out of ['biden.jpg/features.npy', '/dev/null/none/features.npy']) {
      const { code, stdout, stderr } = await run('embed', 'biden.jpg', '--out', out);
      expect([code, stdout]).toEqual([3, '']);
      expect(stderr).toMatch(/^faiss-vision: (\w+): (?!\1)[^\n]+\n$/);
    }
    // Known only at the end: what was found is not lost.
    mkdirSync(join(folder, 'a-folder.npy'));
    const late = await run('embed', 'biden.jpg', '--json', '--out', 'a-folder.npy');
    expect(late.code).toBe(3);
    expect(JSON.parse(late.stdout)[0].faces).toHaveLength(1);
    expect(late.stderr).toMatch(/^faiss-vision: EISDIR: illegal/);
  });
});

describe('verify', () => {
  const distance = (a: string, b: string) => score(inPhoto(a)[0]!.features, inPhoto(b)[0]!.features, 'l2');

  it('the same person: 0', async () => {
    const { code, stdout } = await run('verify', 'obama.jpg', 'obama2.jpg');
    expect(code).toBe(0);
    expect(stdout).toContain(`distance ${distance('obama.jpg', 'obama2.jpg').toFixed(4)}`);
    expect(stdout).toContain('the same person (resnet128: the same is a distance below 0.6)');
  });

  it('another person: 1', async () => {
    const { code, stdout } = await run('verify', 'obama.jpg', 'biden.jpg', '--json');
    expect(code).toBe(1);
    const answer = JSON.parse(stdout);
    expect(answer).toMatchObject({ same: false, metric: 'l2', threshold: 0.6, model: 'resnet128' });
    expect(answer.distance).toBeCloseTo(distance('obama.jpg', 'biden.jpg'), 6);
    expect(answer.cosine).toBeCloseTo(score(inPhoto('obama.jpg')[0]!.features, inPhoto('biden.jpg')[0]!.features, 'cosine'), 6);
    expect(answer.photos.map(({ photo, face }: { photo: string; face: unknown }) => [photo, face])).toEqual(
      ['obama.jpg', 'biden.jpg'].map((name) => [name, plain(inPhoto(name)[0]!)]),
    );
  });

  it('decides by another threshold where one is given', async () => {
    const between = distance('obama.jpg', 'obama2.jpg');
    expect((await run('verify', 'obama.jpg', 'obama2.jpg', '--threshold', String(between - 0.01))).code).toBe(1);
    expect((await run('verify', 'obama.jpg', 'obama2.jpg', '--threshold', String(between + 0.01))).code).toBe(0);
  });

  it('no face: 1, and says where', async () => {
    const { code, stderr } = await run('verify', 'biden.jpg', 'sky.png');
    expect([code, stderr]).toEqual([1, 'faiss-vision: ERR_NO_FACE: no face was found in "sky.png"\n']);
  });

  it('a file that fails: 3', async () => {
    const { code, stderr } = await run('verify', 'biden.jpg', 'broken.jpg');
    expect(code).toBe(3);
    expect(stderr).toMatch(/^faiss-vision: ERR_IMAGE_DECODE: /);
  });
});

describe('evaluate', () => {
  const people = () => join(folder, 'people');

  beforeAll(() => {
    const of = { Obama: ['obama.jpg', 'obama2.jpg', 'obama3.jpg', 'obama_partial_face.jpg'], Biden: ['biden.jpg'] };
    for (const [person, photos] of Object.entries(of)) {
      mkdirSync(join(people(), person), { recursive: true });
      photos.forEach((name, i) => cpSync(photo(name), join(people(), person, `${person}_000${i + 1}.jpg`)));
    }
    mkdirSync(join(people(), 'Nobody'), { recursive: true });
    cpSync(join(folder, 'sky.png'), join(people(), 'Nobody', 'Nobody_0001.jpg'));
    cpSync(join(folder, 'broken.jpg'), join(people(), 'Nobody', 'Nobody_0002.jpg'));
    const folds = [
      ['Obama\t1\t2', 'Obama\t2\t3', 'Obama\t1\tBiden\t1', 'Obama\t2\tBiden\t1'],
      ['Obama\t1\t4', 'Obama\t3\t4', 'Obama\t3\tBiden\t1', 'Obama\t4\tBiden\t1'],
    ];
    writeFileSync(join(people(), 'pairs.txt'), `2\t2\n${folds.flat().join('\n')}\n`);
    const holes = [
      ['Obama\t1\t2', 'Obama\t1\t9', 'Obama\t1\tBiden\t1', 'Nobody\t1\tBiden\t1'],
      ['Obama\t2\t3', 'Nobody\t1\t2', 'Obama\t2\tBiden\t1', 'Obama\t3\tBiden\t1'],
    ];
    writeFileSync(join(folder, 'holes.txt'), `2\t2\n${holes.flat().join('\n')}\n`);
    writeFileSync(join(folder, 'bad.txt'), '2\t2\nObama\t1\t2\n');
  });

  it('measures real photos of two people', async () => {
    const { code, stdout, stderr } = await run('evaluate', 'people/pairs.txt', '--json', '--plot', 'roc.png');
    expect([code, stderr]).toEqual([0, '']);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({
      model: 'resnet128',
      metric: 'l2',
      pairs: { total: 8, compared: 8, same: 4, different: 4 },
      own: { threshold: 0.6, accuracy: 1 },
      best: { accuracy: 1 },
      accuracy: 1,
      standardError: 0,
      accuracyOfAll: 1,
      rocArea: 1,
      leftOut: { missing: [], unreadable: [], withoutFace: [] },
    });
    expect(result.folds).toHaveLength(2);
    expect(result.trueAcceptAt.find(({ limit }: { limit: number }) => limit === 1e-3)).toMatchObject({ falseAccept: 0, trueAccept: 1 });
    const { width, height, format } = await sharp(join(folder, 'roc.png')).metadata();
    expect([width, height, format]).toEqual([960, 720, 'png']);
    // The curve of a perfect result runs along the top: its colour at the middle of that line.
    const { data, info } = await sharp(join(folder, 'roc.png')).raw().toBuffer({ resolveWithObject: true });
    const at = (96 * info.width + 600) * info.channels;
    expect([...data.subarray(at, at + 3)]).toEqual([0x0f, 0x76, 0x6e]);
  });

  it('prints the figures, and counts and names what was left out: 3', async () => {
    const { code, stdout, stderr } = await run('evaluate', 'holes.txt', '--photos', 'people');
    expect(code).toBe(3);
    expect(stdout).toMatch(/Pairs +5 of 8 compared: 2 of one person, 3 of two/);
    expect(stdout).toMatch(/Accuracy +1\.0000 ± 0\.0000/);
    // (2 of 4 + 3 of 4) / 2
    expect(stdout).toMatch(/0\.6250 with the pairs that were left out counted as wrong/);
    expect(stdout).toContain('1 photo not there: Obama/Obama_0009.jpg');
    expect(stdout).toContain('1 photo not readable: Nobody/Nobody_0002.jpg');
    expect(stdout).toContain('1 photo without a face: Nobody/Nobody_0001.jpg');
    expect(stderr).toMatch(/ERR_IMAGE_DECODE: .*Nobody_0002\.jpg/);
    expect(stderr).toMatch(/ERR_IMAGE_NOT_FOUND: .*Obama_0009\.jpg/);
  });

  it('refuses a list that is not as announced, and one of which nothing can be compared', async () => {
    const bad = await run('evaluate', 'bad.txt', '--photos', 'people');
    expect(bad.code).toBe(3);
    expect(bad.stderr).toMatch(/^faiss-vision: ERR_PAIRS_FORMAT: bad\.txt, line 1/);
    const none = await run('evaluate', 'holes.txt', '--photos', 'pictures-of-nobody');
    expect(none.code).toBe(3);
    expect(none.stderr).toMatch(/ERR_PAIRS_EMPTY/);
    expect((await run('evaluate', 'none.txt')).stderr).toMatch(/^faiss-vision: ENOENT: .*none\.txt/);
  });

  it('makes the plot\'s folder, and does not lose the figures where it cannot draw', async () => {
    const made = await run('evaluate', 'people/pairs.txt', '--plot', 'plots/of/today.png');
    expect([made.code, made.stderr]).toEqual([0, '']);
    expect(made.stdout).toMatch(/drew plots\/of\/today\.png\n$/);
    const { code, stdout, stderr } = await run('evaluate', 'people/pairs.txt', '--plot', 'plots');
    expect([code, stdout]).toEqual([3, made.stdout.replace(/.*\n$/, '')]);
    expect(stderr).toMatch(/^faiss-vision: EISDIR: /);
  });
});

describe('models and convert', () => {
  it('lists the models, where their files lie and whether they are there', async () => {
    const { code, stdout } = await run('models', '--json');
    expect(code).toBe(0);
    const models = JSON.parse(stdout) as { name: string; file: string; bytes: number | null; source: string }[];
    expect(models.map(({ name }) => name)).toEqual(['mtcnn', 'resnet128', 'facenet-vggface2', 'facenet-casia-webface']);
    for (const { name, file, bytes } of models) {
      expect(file).toBe(join(modelsFolder(), `${name}.safetensors`));
      expect(bytes).toBe(existsSync(file) ? readFileSync(file).length : null);
    }
    expect(models[1]!.bytes).toBeGreaterThan(0);
    const lines = (await run('models')).stdout.trimEnd().split('\n').slice(1);
    expect(lines.map((line) => line.trim().split(/ {3,}/)[0])).toEqual(models.map(({ name }) => name));
  });

  it('fetches from a file that is already there, and says what is wanted where no network is', async () => {
    const golden = join(__dirname, 'golden', 'facenet', 'facenet.json');
    await execute('python3', [join(__dirname, 'fixtures', 'models', 'facenet_file.py'), golden, folder]);
    const env = { FAISS_VISION_MODELS: join(folder, 'models'), FAISS_VISION_WEIGHTS_URL: 'http://127.0.0.1:9/none' };
    const fetched = await execute(process.execPath, [main, 'models', 'fetch', 'facenet-vggface2', '--from', 'whole.pt'], env);
    expect([fetched.code, fetched.stdout]).toEqual([0, `  facenet-vggface2 is at ${join(folder, 'models', 'facenet-vggface2.safetensors')}\n`]);
    expect((await run('convert', 'whole.pt', 'converted.safetensors')).code).toBe(0);
    const [one, other] = ['models/facenet-vggface2.safetensors', 'converted.safetensors'].map((file) => readFileSync(join(folder, file)));
    expect(one!.equals(other!)).toBe(true);

    const { code, stderr } = await execute(process.execPath, [main, 'models', 'fetch', 'facenet-casia-webface'], env);
    expect(code).toBe(3);
    expect(stderr).toMatch(/faiss-vision: ERR_MODEL_DOWNLOAD: facenet-casia-webface needs 20180408-102900-casia-webface\.pt, /);
    expect(stderr).toMatch(/http:\/\/127\.0\.0\.1:9\/none\/20180408-102900-casia-webface\.pt.*--from FILE/);
    const refused = await run('convert', 'missing.pt', 'missing.safetensors');
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/^faiss-vision: ERR_WEIGHTS_MISMATCH: missing\.pt.*repeat_2\.3\.branch1\.1\.bn\.running_var/);
    expect(existsSync(join(folder, 'missing.safetensors'))).toBe(false);
  });

  it('downloads, and shows how far it is in a terminal', async () => {
    const pt = readFileSync(join(folder, 'whole.pt'));
    const server = createServer((_, response) => response.writeHead(200, { 'content-length': pt.length }).end(pt));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const env = {
      FAISS_VISION_MODELS: join(folder, 'downloaded'),
      FAISS_VISION_WEIGHTS_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      TERM: 'xterm',
    };
    const pty = 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)';
    const { code, stdout } = await execute('python3', ['-c', pty, process.execPath, main, 'models', 'fetch', 'facenet-vggface2'], env);
    expect(code).toBe(0);
    expect(stdout).toContain('downloading 20180402-114759-vggface2.pt (4.1 MB)');
    expect(stdout).toMatch(/download \[=*-*\] \d+ % \| \d.* of 4\.1 MB/);
    expect(stdout).toContain(`facenet-vggface2 is at ${join(folder, 'downloaded', 'facenet-vggface2.safetensors')}`);
    expect(stdout).toContain('No checksum is published');
    await new Promise((resolve) => server.close(resolve));
  });

  it('stops quietly when its reader has seen enough', async () => {
    const { code, stderr } = await execute('sh', ['-c', '"$0" "$1" models | true', process.execPath, main]);
    expect([code, stderr]).toEqual([0, '']);
  });

  it('goes on where nobody reads its messages, and says that its answer could not be written', async () => {
    const deaf = 'import os, subprocess, sys\nr, w = os.pipe()\nos.close(r)\nsys.exit(subprocess.run(sys.argv[1:], stderr=w).returncode)';
    const unread = await execute('python3', ['-c', deaf, process.execPath, main, 'detect', 'broken.jpg', 'biden.jpg']);
    expect(unread.code).toBe(3);
    expect(unread.stdout).toContain('biden.jpg   1 of 1');
    const full = await execute('sh', ['-c', '"$0" "$1" models > /dev/full', process.execPath, main]);
    expect([full.code, full.stderr]).toEqual([3, 'faiss-vision: ENOSPC: no space left on device, write\n']);
  });
});

// A user of a container or of a systemd unit, of whom the system knows a number alone.
const stranger = ['--user', '--map-user=54321', 'env', '-u', 'HOME'];
it.skipIf(spawnSync('unshare', [...stranger, 'true']).status !== 0)('works for a user without a name and a home', async () => {
  const { code, stdout, stderr } = await execute('unshare', [...stranger, process.execPath, main, 'people', '--help']);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toContain('~/.local/share/faiss-vision/people.db');
});

it('the command of package.json is the file that the tests ran', () => {
  expect(basename(main)).toBe('main.js');
  expect(readFileSync(main, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
});
