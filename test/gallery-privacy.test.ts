import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { Gallery } from '../dist/gallery';
import { codeOf, faceOf, facesOf, likeness, made, withFolder, withGallery } from './support/gallery';
import { until } from './support/wait';

/** Every byte of every file beside a gallery, by name. */
function files(file: string): Map<string, Buffer> {
  const folder = dirname(file);
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}

/** The files in which some bytes are found. */
const holding = (file: string, bytes: Uint8Array | string) =>
  [...files(file)].filter(([, content]) => content.includes(bytes as Uint8Array)).map(([name]) => name);

/** Some 24 bytes of features, which no other features have. */
const piece = (features: Float32Array, at = 5) => new Uint8Array(features.slice(at, at + 6).buffer);

describe('forgetting', () => {
  it('leaves nothing of a person in any file', () =>
    withFolder(async (folder) => {
      const file = join(folder, 'people.db');
      const options = { recognizer: made, snapshot: true };
      let gallery = await Gallery.open(file, options);
      const names = Array.from({ length: 400 }, (_, i) => `Somebody ${String((i * 7919) % 400).padStart(3, '0')} of the town`);
      for (const name of names)
        await gallery.enrollFeatures(name, facesOf(faceOf(name), likeness(name, 'left')), { metadata: { secret: `the secret of ${name}` } });
      await gallery.close(); // with a file of the index
      expect(holding(file, piece(faceOf(names[0]!)))).toEqual(['people.db', 'people.db.index']);

      gallery = await Gallery.open(file, options);
      const gone = names.filter((_, i) => i % 3 !== 0);
      const renamed = names[0]!;
      await gallery.rename(renamed, 'Another name');
      for (const name of gone) await gallery.remove(name);
      const [{ id } = { id: '' }] = await gallery.faces(names[3]!);
      await gallery.removeFace(id);
      const check = (when: string) => {
        for (const name of gone) {
          expect(holding(file, piece(faceOf(name))), `${when}: ${name}`).toEqual([]);
          expect(holding(file, piece(likeness(name, 'left'), 20)), `${when}: ${name}`).toEqual([]);
          expect(holding(file, name), `${when}: ${name}`).toEqual([]);
        }
        expect(holding(file, piece(faceOf(names[3]!))), when).toEqual([]);
        expect(
          holding(file, renamed).filter((name) => name !== 'people.db'),
          when,
        ).toEqual([]);
      };
      check('while it is open');
      await gallery.close();
      check('when it is closed');
      const again = await Gallery.open(file, options);
      expect((await again.describe()).index.from).toBe('snapshot'); // a new one
      await again.close();
    }));

  it('deletes what others would still read', () =>
    withGallery(async (gallery, file) => {
      await gallery.enrollFeatures('Ada', faceOf('Ada'));
      const other = await Gallery.open(file, { recognizer: made });
      await other.remove('Ada');
      expect(holding(file, piece(faceOf('Ada')))).toEqual([]);
      await until('she is not found any more', async () => !(await gallery.identifyFeatures(faceOf('Ada')))[0]!.found);
      await other.close();
    }));
});

describe('encryption', () => {
  const encryptionKey = Uint8Array.from({ length: 32 }, (_, i) => i);

  it('leaves no features in any file, and finds people all the same', () =>
    withFolder(async (folder) => {
      const file = join(folder, 'people.db');
      let gallery = await Gallery.open(file, { recognizer: made, encryptionKey, snapshot: true });
      await gallery.enrollFeatures('Ada', faceOf('Ada'));
      await gallery.enrollFeatures('Bob', faceOf('Bob'));
      await gallery.close();
      for (const name of ['Ada', 'Bob']) for (const at of [0, 5, 13]) expect(holding(file, piece(faceOf(name), at))).toEqual([]);
      expect(readdirSync(folder)).toEqual(['people.db']); // no file of the index
      gallery = await Gallery.open(file, { recognizer: made, encryptionKey });
      expect((await gallery.describe()).encrypted).toBe(true);
      expect((await gallery.identifyFeatures(facesOf(faceOf('Ada'), faceOf('Bob')))).map(({ person }) => person?.name)).toEqual(['Ada', 'Bob']);
      await gallery.close();
    }));

  it('refuses another key, none, a wrong one, and a key for what is not encrypted', () =>
    withFolder(async (folder) => {
      const file = join(folder, 'people.db');
      const open = (options: object) => Gallery.open(file, { recognizer: made, ...options });
      const gallery = await open({ encryptionKey });
      await gallery.enrollFeatures('Ada', faceOf('Ada'));
      await gallery.close();
      expect(await codeOf(open({}))).toBe('ERR_GALLERY_KEY');
      expect(await codeOf(open({ encryptionKey: new Uint8Array(32) }))).toBe('ERR_GALLERY_KEY');
      expect(await codeOf(open({ encryptionKey: new Uint8Array(16) }))).toBe('ERR_INVALID_ARGUMENT');
      expect(await codeOf(open({ encryptionKey: 'secret' }))).toBe('ERR_INVALID_ARGUMENT');
      const plain = await Gallery.open(join(folder, 'plain.db'), { recognizer: made });
      await plain.close();
      expect(await codeOf(Gallery.open(join(folder, 'plain.db'), { recognizer: made, encryptionKey }))).toBe('ERR_GALLERY_KEY');
    }));

  it("notices one face's features in place of another's", () =>
    withFolder(async (folder) => {
      const file = join(folder, 'people.db');
      const gallery = await Gallery.open(file, { recognizer: made, encryptionKey });
      await gallery.enrollFeatures('Ada', faceOf('Ada'), { faceIds: ['ada-1'] });
      await gallery.enrollFeatures('Bob', faceOf('Bob'), { faceIds: ['bob-1'] });
      await gallery.close();
      const db = new Database(file);
      db.exec(`UPDATE faces SET features = (SELECT features FROM faces WHERE id = 'ada-1') WHERE id = 'bob-1'`);
      db.close();
      const error = await Gallery.open(file, { recognizer: made, encryptionKey }).catch((error: Error) => error);
      expect(error).toMatchObject({ code: 'ERR_GALLERY_CORRUPT', message: expect.stringContaining('bob-1') });
    }));
});

it('only the owner may read the files', () =>
  withGallery(async (gallery, file) => {
    await gallery.enrollFeatures('Ada', faceOf('Ada'));
    const other = await Gallery.open(file, { recognizer: made, snapshot: true });
    await other.close();
    expect(readdirSync(dirname(file))).toEqual(['people.db', 'people.db-shm', 'people.db-wal', 'people.db.index']);
    for (const name of readdirSync(dirname(file))) expect(statSync(join(dirname(file), name)).mode & 0o077, name).toBe(0);
    await gallery.export(`${file}.jsonl`);
    expect(statSync(`${file}.jsonl`).mode & 0o077).toBe(0);
  }));
