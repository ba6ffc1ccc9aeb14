import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { Gallery } from 'faiss-vision/gallery';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultGallery } from '../dist/cli/gallery';
import { main } from '../dist/cli/main';
import { photosFolder } from '../dist/models/cache';

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-cli-gallery-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const photo = (name: string) => at(`photos/${name}`);

/** Runs the command as the command line would. */
async function run(...args: string[]) {
  const text = { stdout: '', stderr: '' };
  const into = (name: 'stdout' | 'stderr') => new Writable({ write: (chunk, _, done) => ((text[name] += chunk), done()) });
  const code = await main(args, { stdout: into('stdout'), stderr: into('stderr') });
  return { code, ...text };
}
const json = ({ stdout }: { stdout: string }) => JSON.parse(stdout);
let db: string;

beforeAll(async () => {
  mkdirSync(at('photos'));
  for (const name of ['obama.jpg', 'obama2.jpg', 'obama3.jpg', 'biden.jpg']) cpSync(join(photosFolder(), 'face_recognition', name), photo(name));
  await sharp({ create: { width: 200, height: 150, channels: 3, background: '#6b8cae' } }).png().toFile(at('sky.png'));
  writeFileSync(at('broken.jpg'), readFileSync(photo('biden.jpg')).subarray(0, 20_000));
  db = at('people.db');
  await run('enroll', 'Barack Obama', photo('obama2.jpg'), photo('obama3.jpg'), '--metadata', '{"floor":3}', '--db', db);
  await run('enroll', 'Joe Biden', photo('biden.jpg'), '--db', db);
});

describe('enroll', () => {
  it('enrols what is good enough, says of each other photo why not, and the highest exit code wins', async () => {
    const other = at('other.db');
    const { code, stdout, stderr } = await run('enroll', 'Ada', photo('biden.jpg'), photo('obama.jpg'), at('sky.png'), '--db', other);
    expect(code).toBe(1);
    expect(stdout).toMatch(/biden\.jpg +enrolled\n.*obama\.jpg +refused\n.*sky\.png +refused\n {2}Ada has 1 face\n$/);
    expect(stderr).toMatch(/ERR_MANY_FACES: ".*obama\.jpg": exactly one face is wanted, 2 were found; --largest takes the largest\n/);
    expect(stderr).toMatch(/ERR_NO_FACE: ".*sky\.png": no face was found\n/);
    const failed = await run('enroll', 'Ada', at('broken.jpg'), at('sky.png'), '--db', other, '--json');
    expect(failed.code).toBe(3);
    expect(json(failed).photos).toMatchObject([{ result: 'failed', error: { code: 'ERR_IMAGE_DECODE' } }, { result: 'refused', error: { code: 'ERR_NO_FACE' } }]);
    expect(json(failed).person).toMatchObject({ name: 'Ada', faces: 1 });
  });

  it('enrols a photo once however often it is given, and a folder photo by photo', async () => {
    const other = at('folder.db');
    const first = await run('enroll', 'All', at('photos'), '--largest', '--db', other, '--json');
    expect(first.code).toBe(0);
    expect(json(first).photos.map(({ result }: { result: string }) => result)).toEqual(Array(4).fill('enrolled'));
    const again = json(await run('enroll', 'All', at('photos'), '--largest', '--db', other, '--json'));
    expect(again.photos.map(({ result }: { result: string }) => result)).toEqual(Array(4).fill('was enrolled before'));
    expect(again.person.faces).toBe(4);
    const somebodyElse = await run('enroll', 'Another', photo('biden.jpg'), '--db', other);
    expect([somebodyElse.code, somebodyElse.stdout]).toEqual([1, expect.stringContaining('nobody was enrolled')]);
  });

  it('replaces metadata only where it is given', async () => {
    const other = at('metadata.db');
    const person = async (...args: string[]) => json(await run('enroll', 'Joe', photo('biden.jpg'), '--db', other, '--json', ...args)).person.metadata;
    expect(await person('--metadata', '{"a":1}')).toEqual({ a: 1 });
    expect(await person()).toEqual({ a: 1 });
    expect(await person('--metadata', '{"b":"x"}')).toEqual({ b: 'x' });
  });
});

describe('identify', () => {
  it('says who is in each photo, nearest people included, and draws it', async () => {
    const answer = await run('identify', photo('obama.jpg'), photo('biden.jpg'), '--db', db, '--top', '2', '--draw', at('drawn'));
    expect([answer.code, answer.stderr]).toEqual([0, '']);
    expect(answer.stdout).toMatch(/obama\.jpg +1 of 2 +Barack Obama +0\.\d{4} +left .*\n +then Joe Biden +0\.\d{4}\n.*obama\.jpg +2 of 2 +unknown \(nearest: /);
    expect(answer.stdout).toMatch(/biden\.jpg +1 of 1 +Joe Biden +0\.0000/);
    expect(readdirSync(at('drawn')).sort()).toEqual(['biden.png', 'obama.png']);
    const { width, height } = await sharp(photo('obama.jpg')).metadata();
    expect(await sharp(at('drawn/obama.png')).metadata()).toMatchObject({ format: 'png', width, height });
  });

  it('gives JSON with the decision, and 1 where nobody is found', async () => {
    const found = await run('identify', photo('obama.jpg'), '--db', db, '--largest', '--json');
    expect(json(found)).toMatchObject([
      { faces: [{ found: true, person: { name: 'Barack Obama', metadata: { floor: 3 } }, matches: [{ name: 'Barack Obama', score: expect.any(Number) }] }] },
    ]);
    const strict = await run('identify', photo('obama.jpg'), '--db', db, '--largest', '--json', '--threshold', '0.01');
    expect([strict.code, json(strict)[0].faces[0]]).toMatchObject([1, { found: false, person: null, matches: [{ name: 'Barack Obama' }] }]);
    expect(await run('identify', at('sky.png'), '--db', db)).toMatchObject({ code: 1, stdout: expect.stringContaining('no face') });
    expect((await run('identify', at('sky.png'), at('missing.jpg'), '--db', db)).code).toBe(3);
  });

  it('looks only among those whose metadata say so; a number in the shell is a number or a text', async () => {
    const nearest = async (where: string) => json(await run('identify', photo('biden.jpg'), '--db', db, '--json', '--where', where))[0].faces[0].matches;
    expect(await nearest('floor=3')).toMatchObject([{ name: 'Barack Obama' }]);
    expect(await nearest('floor=4')).toEqual([]);
  });

  it('makes no gallery where there is none', async () => {
    const { code, stderr } = await run('identify', photo('biden.jpg'), '--db', at('none.db'));
    expect([code, stderr]).toEqual([3, expect.stringContaining('ERR_GALLERY_NOT_FOUND')]);
    expect(existsSync(at('none.db'))).toBe(false);
  });
});

describe('verify NAME PHOTO', () => {
  it.each([
    ['Joe Biden', 'biden.jpg', 0, /Joe Biden: distance 0\.0000 to their nearest face\n {2}the same person \(resnet128/],
    ['Joe Biden', 'obama.jpg', 1, /not the same person/],
    ['Nobody', 'biden.jpg', 3, /^$/],
  ])('%s, %s: %i', async (name, file, code, text) => {
    const answer = await run('verify', name, photo(file), '--db', db);
    expect(answer.code).toBe(code);
    expect(answer.stdout).toMatch(text);
    if (code === 3) expect(answer.stderr).toContain('ERR_PERSON_UNKNOWN: nobody is named "Nobody"');
  });

  it('as JSON, and 1 for a photo without a face', async () => {
    expect(json(await run('verify', 'Joe Biden', photo('biden.jpg'), '--db', db, '--json'))).toMatchObject({ same: true, person: { name: 'Joe Biden' }, metric: 'l2' });
    expect((await run('verify', 'Joe Biden', at('sky.png'), '--db', db)).code).toBe(1);
  });
});

describe('people, forget, export and import', () => {
  it('tell of everybody, and nobody of somebody forgotten', async () => {
    const copy = at('copy.db');
    expect(await run('export', at('people.jsonl'), '--db', db)).toEqual({ code: 0, stdout: `  wrote 2 people with 3 faces to ${at('people.jsonl')}\n`, stderr: '' });
    expect(statSync(at('people.jsonl')).mode & 0o777).toBe(0o600);
    expect((await run('import', at('people.jsonl'), '--db', copy)).stdout).toBe('  read 2 people with 3 faces; 2 people and 3 faces were new\n');
    expect(json(await run('import', at('people.jsonl'), '--db', copy, '--json'))).toMatchObject({ people: 2, faces: 3, added: { people: 0, faces: 0 } });

    const listed = await run('people', '--db', copy);
    expect(listed.code).toBe(0);
    expect(listed.stdout).toMatch(/Name +Faces +Enrolled +Metadata +Id\n {2}Barack Obama +2 +\d{4}-\d\d-\d\d +\{"floor":3\} .*\n {2}Joe Biden +1 .*\n {2}2 people, 3 faces\n$/);
    const lines = (await run('people', '--db', copy, '--where', 'floor=3', '--json')).stdout.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line).name)).toEqual(['Barack Obama']);

    const forgotten = await run('forget', 'Joe Biden', 'Nobody', '--db', copy);
    expect(forgotten).toEqual({ code: 1, stdout: '  forgot Joe Biden and 1 face\n', stderr: 'faiss-vision: ERR_PERSON_UNKNOWN: nobody is named "Nobody"\n' });
    const gallery = await Gallery.open(copy);
    expect((await gallery.list()).items.map(({ name }) => name)).toEqual(['Barack Obama']);
    await gallery.close();
    expect((await run('identify', photo('biden.jpg'), '--db', copy)).code).toBe(1);
    expect((await run('people', '--db', at('absent.db'))).code).toBe(3);
  });

  it('keep features encrypted with the key of a file', async () => {
    const sealed = at('sealed.db');
    writeFileSync(at('key'), `${'0f'.repeat(32)}\n`);
    writeFileSync(at('other-key'), Buffer.alloc(32, 7));
    expect((await run('enroll', 'Joe', photo('biden.jpg'), '--db', sealed, '--key-file', at('key'))).code).toBe(0);
    expect((await run('identify', photo('biden.jpg'), '--db', sealed, '--key-file', at('key'))).code).toBe(0);
    for (const args of [[], ['--key-file', at('other-key')]]) {
      expect(await run('identify', photo('biden.jpg'), '--db', sealed, ...args)).toMatchObject({ code: 3, stderr: expect.stringMatching(/ERR_GALLERY_(KEY|CORRUPT)/) });
    }
    writeFileSync(at('short-key'), 'abc');
    expect(await run('people', '--db', sealed, '--key-file', at('short-key'))).toMatchObject({ code: 2, stderr: expect.stringContaining('64 hexadecimal digits, got 3 bytes') });
  });
});

describe('the default gallery', () => {
  it('lies where the platform keeps a user\'s data', () => {
    expect(defaultGallery({ FAISS_VISION_DB: 'milvus://host:19530/people' })).toBe('milvus://host:19530/people');
    if (process.platform !== 'linux') return;
    expect(defaultGallery({ XDG_DATA_HOME: '/data' })).toBe('/data/faiss-vision/people.db');
    expect(defaultGallery({ XDG_DATA_HOME: 'data' })).toMatch(/\/\.local\/share\/faiss-vision\/people\.db$/);
  });
});

it.each([
  [['enroll'], /a name is missing/],
  [['enroll', 'Ada'], /a photo is missing/],
  [['enroll', 'Ada', 'x.jpg', '--metadata', '{'], /--metadata must be JSON/],
  [['enroll', 'Ada', 'x.jpg', '--metadata', '[1]'], /must be a JSON object/],
  [['identify', 'x.jpg', '--top', '101'], /--top must be at most 100/],
  [['identify', 'x.jpg', '--where', 'floor'], /--where must be KEY=VALUE/],
  [['people', 'Ada'], /takes no names/],
  [['forget'], /a name is missing/],
  [['export'], /one FILE, got 0/],
  [['import', 'a', 'b'], /one FILE, got 2/],
])('%j is a mistake in the call', async (args, message) => {
  const { code, stdout, stderr } = await run(...args);
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(message);
});
