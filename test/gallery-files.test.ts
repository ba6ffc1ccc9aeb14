import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { Gallery } from '../dist/gallery';
import { makeDisk, mounts } from './support/disk';
import { codeOf, faceOf, facesOf, likeness, made, withFolder, withGallery } from './support/gallery';
import { until } from './support/wait';

const child = join(__dirname, 'support', 'gallery-child.cjs');

/** A closed gallery of Ada and Bob. */
async function withFile(work: (file: string) => Promise<void>, options = {}): Promise<void> {
  await withFolder(async (folder) => {
    const file = join(folder, 'people.db');
    const gallery = await Gallery.open(file, { recognizer: made, snapshot: true, ...options });
    await gallery.enrollFeatures('Ada', facesOf(faceOf('Ada'), likeness('Ada', 'left')), { faceIds: ['ada-1', 'ada-2'] });
    await gallery.enrollFeatures('Bob', faceOf('Bob'), { faceIds: ['bob-1'] });
    await gallery.close();
    await work(file);
  });
}

const open = (file: string, options = {}) => Gallery.open(file, { recognizer: made, ...options });

/** Changes the file behind the gallery's back. */
function byHand(file: string, ...statements: [sql: string, ...values: unknown[]][]): void {
  const db = new Database(file);
  for (const [sql, ...values] of statements) db.prepare(sql).run(...values);
  db.close();
}

/** What a program of its own says: opens, and enrols. */
function inChild(file: string, { first = 1000, most = 1, uid = 0, limit = 0 }): { lines: string[]; status: number | null } {
  const shell = limit > 0 ? `ulimit -f ${limit}; exec "$@"` : 'exec "$@"';
  const { stdout, status } = spawnSync('sh', ['-c', shell, 'sh', process.execPath, child, file, String(first), String(most)], {
    encoding: 'utf8',
    env: { ...process.env, ...(uid === 0 ? {} : { GALLERY_CHILD_UID: String(uid) }) },
  });
  return { lines: stdout.trim().split('\n'), status };
}

it('a machine without better-sqlite3 is told what to run, and has no empty file then', () =>
  withFolder(async (folder) => {
    const root = join(__dirname, '..');
    for (const part of ['dist', 'package.json']) cpSync(join(root, part), join(folder, part), { recursive: true });
    mkdirSync(join(folder, 'node_modules'));
    for (const name of readdirSync(join(root, 'node_modules'))) {
      if (name !== 'better-sqlite3') symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
    }
    const code = `require('faiss-vision').Gallery.open('people.db', { recognizer: ${JSON.stringify(made)} })
      .catch((error) => console.log(error.code + ' ' + error.message))`;
    const said = execFileSync(process.execPath, ['-e', code], { cwd: folder, encoding: 'utf8' });
    expect(said).toMatch(/^ERR_SQLITE_UNAVAILABLE .*npm install better-sqlite3@12/);
    expect(existsSync(join(folder, 'people.db'))).toBe(false);
  }));

describe('a file that is no gallery', () => {
  it('of another program is refused by name, and left as it is', () =>
    withFolder(async (folder) => {
      const file = join(folder, 'other.db');
      const db = new Database(file);
      db.exec('CREATE TABLE bookmarks (url TEXT)');
      db.pragma('application_id = 1234');
      db.close();
      const before = readFileSync(file);
      const error = await open(file).catch((error: Error) => error);
      expect(error).toMatchObject({ code: 'ERR_GALLERY_FOREIGN', message: expect.stringContaining('0x4d2') });
      expect(readFileSync(file).equals(before)).toBe(true);
    }));

  it('of another program without an application id too', () =>
    withFolder(async (folder) => {
      const file = join(folder, 'other.db');
      byHand(file, ['CREATE TABLE people (name TEXT)']);
      expect(await codeOf(open(file))).toBe('ERR_GALLERY_FOREIGN');
    }));

  it('of a newer version is refused', () =>
    withFile(async (file) => {
      const db = new Database(file);
      db.pragma('user_version = 99');
      db.close();
      expect(await open(file).catch((error: Error) => error)).toMatchObject({ code: 'ERR_GALLERY_VERSION', message: expect.stringContaining('99') });
    }));

  it.each([
    ['of text', 'this is no database, '.repeat(200), 'ERR_GALLERY_FOREIGN'],
    ['of one byte', 'x', 'ERR_GALLERY_FOREIGN'],
  ])('%s is refused', (_, text, code) =>
    withFolder(async (folder) => {
      const file = join(folder, 'text');
      writeFileSync(file, text);
      expect(await codeOf(open(file))).toBe(code);
      expect(readFileSync(file, 'utf8')).toBe(text);
    }),
  );

  it('or is not there is told', () =>
    withFolder(async (folder) => {
      expect(await codeOf(Gallery.open(join(folder, 'nothing.db')))).toBe('ERR_GALLERY_NOT_FOUND');
      expect(await codeOf(open(join(folder, 'nothing.db'), { readOnly: true }))).toBe('ERR_GALLERY_NOT_FOUND');
      expect(await codeOf(open(join(folder, 'nowhere', 'people.db')))).toBe('ERR_GALLERY_OPEN');
      expect(await codeOf(open(folder))).toBe('ERR_GALLERY_OPEN');
      expect(existsSync(join(folder, 'nothing.db'))).toBe(false);
    }));
});

describe('features written by hand', () => {
  it.each([
    ['of a wrong length', new Uint8Array(13)],
    ['with NaN', new Uint8Array(Float32Array.from({ length: 32 }, (_, i) => (i === 9 ? NaN : 0)).buffer)],
    ['with an infinite number', new Uint8Array(Float32Array.from({ length: 32 }, (_, i) => (i === 9 ? -Infinity : 0)).buffer)],
    ['of no bytes', new Uint8Array(0)],
  ])('%s are told by name, never loaded', (_, features) =>
    withFile(
      async (file) => {
        byHand(file, [`UPDATE faces SET features = ? WHERE id = 'ada-2'`, features]);
        const error = await open(file).catch((error: Error) => error);
        expect(error).toMatchObject({ code: 'ERR_GALLERY_CORRUPT', message: expect.stringContaining('ada-2') });
        // Without an index it can be mended.
        const gallery = await Gallery.open(file);
        expect(await codeOf(gallery.export(`${file}.jsonl`))).toBe('ERR_GALLERY_CORRUPT');
        await gallery.removeFace('ada-2');
        await gallery.close();
        const mended = await open(file);
        expect((await mended.identifyFeatures(faceOf('Ada')))[0]!.person?.name).toBe('Ada');
        await mended.close();
      },
      { snapshot: false },
    ),
  );

  it('of another model are told', () =>
    withFile(
      async (file) => {
        byHand(file, [`INSERT INTO models VALUES (7, 'other', '', 32, 'l2')`], [`UPDATE faces SET model = 7 WHERE id = 'bob-1'`]);
        expect(await open(file).catch((error: Error) => error)).toMatchObject({
          code: 'ERR_GALLERY_CORRUPT',
          message: expect.stringContaining('bob-1'),
        });
      },
      { snapshot: false },
    ));

  it('are noticed in a running gallery', () =>
    withGallery(async (gallery, file) => {
      await gallery.enrollFeatures('Ada', faceOf('Ada'), { faceIds: ['ada-1'] });
      byHand(
        file,
        [`INSERT INTO faces (id, person, model, created, features) VALUES ('bad', 1, 1, 0, x'00')`],
        ['UPDATE gallery SET changes = changes + 1'],
      );
      await until('they are noticed', async () => (await codeOf(gallery.identifyFeatures(faceOf('Ada')))) === 'ERR_GALLERY_CORRUPT');
    }));
});

describe('a damaged file', () => {
  it('is told', () =>
    withFile(
      async (file) => {
        const bytes = readFileSync(file);
        bytes.fill(0xaa, 4096 * 3, 4096 * 12);
        writeFileSync(file, bytes);
        const code = await codeOf(open(file).then(async (gallery) => gallery.export(`${file}.jsonl`).finally(() => gallery.close())));
        expect(code).toBe('ERR_GALLERY_CORRUPT');
      },
      { snapshot: false },
    ));
});

describe("the index's file", () => {
  const from = async (file: string, options = {}) => {
    const gallery = await open(file, options);
    const [decision] = await gallery.identifyFeatures(likeness('Ada', 'left'));
    expect(decision!.matches[0]).toMatchObject({ person: { name: 'Ada' }, face: 'ada-2' });
    const { index } = await gallery.describe();
    await gallery.close();
    return index.from;
  };

  it('is used where it is the one that was written last', () => withFile(async (file) => expect(await from(file)).toBe('snapshot')));

  it('is used together with what came later', () =>
    withFile(async (file) => {
      const gallery = await open(file, { snapshot: false });
      await gallery.enrollFeatures('Eve', faceOf('Eve'));
      await gallery.close();
      const again = await open(file);
      expect((await again.describe()).index).toMatchObject({ from: 'snapshot', faces: 4 });
      expect((await again.identifyFeatures(facesOf(faceOf('Eve'), faceOf('Bob')))).map(({ person }) => person?.name)).toEqual(['Eve', 'Bob']);
      await again.close();
    }));

  it.each([
    ['cut short', (file: string) => truncateSync(file, statSync(file).size - 9)],
    ['emptied', (file: string) => truncateSync(file, 0)],
    [
      'changed',
      (file: string) => {
        const bytes = readFileSync(file);
        bytes[200]! ^= 1;
        writeFileSync(file, bytes);
      },
    ],
    [
      'made a folder',
      (file: string) => {
        execFileSync('rm', [file]);
        mkdirSync(file);
      },
    ],
    ['taken away', (file: string) => execFileSync('rm', [file])],
  ])('that was %s is left alone', (_, damage) =>
    withFile(async (file) => {
      damage(`${file}.index`);
      expect(await from(file, { snapshot: false })).toBe('database');
    }),
  );

  it('of an earlier state of the database is left alone', () =>
    withFile(async (file) => {
      const backup = readFileSync(file);
      const gallery = await open(file, { snapshot: true });
      for (let i = 0; i < 5; i++) await gallery.enrollFeatures(`Person ${i}`, faceOf(`${i}`));
      await gallery.close(); // writes a file of the index with them
      writeFileSync(file, backup); // from which they are missing
      const restored = await open(file, { snapshot: false });
      expect((await restored.identifyFeatures(faceOf('3')))[0]!.found).toBe(false);
      expect((await restored.describe()).index).toMatchObject({ from: 'database', faces: 3 });
      await restored.close();
    }));

  it('is not written for a gallery that is small, or where it is not wanted', () =>
    withFile(async (file) => expect(existsSync(`${file}.index`)).toBe(false), { snapshot: undefined }));
});

describe('a file that cannot be written', () => {
  // The system's administrator may write everything, so somebody else has to try, who must come as far as this folder: /root is closed.
  const uid = 65534;
  const mayChangeUser = process.getuid!() === 0 && spawnSync('test', ['-r', child], { uid }).status === 0;

  it.runIf(mayChangeUser)('answers, and refuses to enrol', () =>
    withFile(async (file) => {
      chmodSync(join(file, '..'), 0o777);
      chmodSync(file, 0o444);
      const { lines } = inChild(file, { uid });
      expect(lines[0]).toBe('open');
      expect(lines[1]).toMatch(/^!ERR_GALLERY_READONLY .*people\.db/);
      expect(lines.at(-1)).toBe('closed');
    }),
  );

  it.runIf(mayChangeUser)('in a folder that cannot be written either is told', () =>
    withFile(async (file) => {
      chmodSync(file, 0o444);
      chmodSync(join(file, '..'), 0o555);
      const { lines } = inChild(file, { uid });
      expect(lines[0]).toMatch(/^!ERR_GALLERY_(OPEN|READONLY) .*people\.db/);
      chmodSync(join(file, '..'), 0o755);
      const gallery = await open(file);
      expect((await gallery.describe()).faces).toBe(3);
      await gallery.close();
    }),
  );

  it('opened for reading answers, and refuses to change anything', () =>
    withFile(async (file) => {
      const gallery = await open(file, { readOnly: true });
      expect((await gallery.identifyFeatures(faceOf('Ada')))[0]!.person?.name).toBe('Ada');
      expect((await gallery.list()).items).toHaveLength(2);
      const changes = [
        gallery.enrollFeatures('Eve', faceOf('Eve')),
        gallery.remove('Ada'),
        gallery.rename('Ada', 'Eve'),
        gallery.removeFace('ada-1'),
      ];
      expect(await Promise.all(changes.map(codeOf))).toEqual(changes.map(() => 'ERR_GALLERY_READONLY'));
      expect(existsSync(`${file}.index`)).toBe(true);
      await gallery.close();
    }));
});

describe('a full disk', () => {
  /** Everything acknowledged is there, and nothing is half there. */
  async function expectWhole(file: string, lines: string[]): Promise<void> {
    const db = new Database(file);
    expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
    db.close();
    const gallery = await open(file);
    const removed = new Set(lines.filter((line) => /^[?-]/.test(line)).map((line) => line.slice(1)));
    const names = lines
      .filter((line) => line.startsWith('+'))
      .map((line) => line.slice(1))
      .filter((name) => !removed.has(name));
    expect(names.length).toBeGreaterThan(10);
    const found = await gallery.identifyFeatures(facesOf(...names.map((name) => faceOf(`${name} too`))));
    expect(found.map(({ person }) => person?.name)).toEqual(names);
    for await (const person of gallery.people()) expect(person.faces).toBe(2);
    await gallery.enrollFeatures('Eve', faceOf('Eve'));
    await gallery.close();
  }

  it('by a limit on the size of files is told, and nothing acknowledged is lost', () =>
    withFolder(async (folder) => {
      const file = join(folder, 'people.db');
      const { lines } = inChild(file, { first: 0, most: 100_000, limit: 1024 });
      expect(lines.find((line) => line.startsWith('!'))).toMatch(/^!ERR_GALLERY_(FULL|IO) .*people\.db/);
      expect(lines).toContain('=Person 1'); // it goes on answering
      await expectWhole(file, lines);
    }));

  it.runIf(mounts)('that is really full is told, and nothing acknowledged is lost', () =>
    withFolder(async (folder) => {
      const disk = join(folder, 'disk');
      const { enlarge, remove } = makeDisk(disk, 2);
      try {
        const file = join(disk, 'people.db');
        const { lines } = inChild(file, { first: 0, most: 100_000 });
        expect(lines.find((line) => line.startsWith('!'))).toMatch(/^!ERR_GALLERY_(FULL|IO) .*people\.db/);
        expect(lines).toContain('=Person 1');
        enlarge(16);
        await expectWhole(file, lines);
      } finally {
        remove();
      }
    }),
  );
});
