import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Gallery, type ListedPerson } from '../dist/gallery';
import { codeOf, faceOf, facesOf, likeness, made, withFolder, withGallery } from './support/gallery';

const names = Array.from({ length: 700 }, (_, i) => `Person ${i} 👩‍💻 "${i}"`);

async function filled(gallery: Gallery, some = names): Promise<void> {
  await Promise.all(
    some.map((name) => gallery.enrollFeatures(name, facesOf(faceOf(name), likeness(name, 'left')), { metadata: { name, n: [1, null] } })),
  );
}

async function everybody(gallery: Gallery): Promise<ListedPerson[]> {
  const all: ListedPerson[] = [];
  for await (const person of gallery.people()) all.push(person);
  return all;
}

describe('export and import', () => {
  it('bring everybody over, and nobody twice', () =>
    withGallery(async (gallery, file) => {
      await filled(gallery);
      const told: [number, number][] = [];
      const exported = await gallery.export(`${file}.jsonl`, { onProgress: (done, total) => told.push([done, total]) });
      expect(exported).toMatchObject({ people: 700, faces: 1400 });
      expect(told.at(-1)).toEqual([700, 700]);
      expect(readdirSync(dirname(file)).filter((name) => name.includes('.tmp'))).toEqual([]);
      const other = await Gallery.open(join(dirname(file), 'other.db'), { recognizer: made });
      expect(await other.import(`${file}.jsonl`)).toEqual({ people: 700, faces: 1400, added: { people: 700, faces: 1400 } });
      expect(await other.import(`${file}.jsonl`)).toEqual({ people: 700, faces: 1400, added: { people: 0, faces: 0 } });
      expect(await everybody(other)).toEqual(await everybody(gallery));
      expect(await other.faces(names[5]!)).toEqual(await gallery.faces(names[5]!));
      const x = facesOf(...names.map((name) => likeness(name, 'left')));
      expect(await other.identifyFeatures(x)).toEqual(await gallery.identifyFeatures(x));
      // The same bytes come out again.
      await other.export(`${file}.again`);
      expect(readFileSync(`${file}.again`).equals(readFileSync(`${file}.jsonl`))).toBe(true);
      await other.close();
    }));

  it('go on after an interruption', () =>
    withGallery(async (gallery, file) => {
      await filled(gallery);
      await gallery.export(`${file}.jsonl`);
      const other = await Gallery.open(join(dirname(file), 'other.db'), { recognizer: made });
      const stop = new AbortController();
      const reason = new Error('enough');
      await expect(other.import(`${file}.jsonl`, { signal: stop.signal, onProgress: () => stop.abort(reason) })).rejects.toBe(reason);
      const part = await everybody(other);
      expect(part.length).toBeGreaterThan(0);
      expect(part.length).toBeLessThan(700);
      for (const { faces } of part) expect(faces).toBe(2);
      expect(await other.import(`${file}.jsonl`)).toMatchObject({ added: { people: 700 - part.length } });
      await other.close();
    }));

  it.each<[string, (text: string) => string]>([
    ['cut', (text) => text.slice(0, text.length - 100)],
    ['cut after a whole line', (text) => text.slice(0, text.lastIndexOf('{"end"'))],
    ['changed in one letter', (text) => text.replace('AAAA', 'AAAB').replace('Person 3', 'Person 4')],
    [
      'lacking a person',
      (text) =>
        text
          .split('\n')
          .filter((_, i) => i !== 5)
          .join('\n'),
    ],
    ['going on behind its end', (text) => `${text}{"id":"x"}\n`],
    ['empty', () => ''],
    ['something else', () => 'some text\n'],
    ['an older or newer version', (text) => text.replace('"version":1', '"version":2')],
  ])('refuse a file that is %s, before anything is taken over', (_, damage) =>
    withGallery(async (gallery, file) => {
      await filled(gallery, names.slice(0, 20));
      await gallery.export(`${file}.jsonl`);
      writeFileSync(`${file}.bad`, damage(readFileSync(`${file}.jsonl`, 'utf8')));
      const other = await Gallery.open(join(dirname(file), 'other.db'), { recognizer: made });
      expect(await codeOf(other.import(`${file}.bad`))).toBe('ERR_IMPORT_CORRUPT');
      expect((await other.describe()).people).toBe(0);
      await other.close();
    }),
  );

  it('refuse features of another model, and a file that is not there', () =>
    withGallery(async (gallery, file) => {
      await filled(gallery, names.slice(0, 3));
      await gallery.export(`${file}.jsonl`);
      const other = await Gallery.open(join(dirname(file), 'other.db'), { recognizer: { ...made, version: '2' } });
      expect(await codeOf(other.import(`${file}.jsonl`))).toBe('ERR_MODEL_MISMATCH');
      expect(await codeOf(other.import(`${file}.nothing`))).toBe('ERR_FILE_NOT_FOUND');
      expect(await codeOf(gallery.export(join(dirname(file), 'nowhere', 'x.jsonl')))).toBe('ERR_FILE_WRITE');
      expect(await codeOf(gallery.copyTo(other))).toBe('ERR_MODEL_MISMATCH');
      await other.close();
    }));

  it('refuse a name that somebody else has, or add to them', () =>
    withGallery(async (gallery, file) => {
      await filled(gallery, names.slice(0, 3));
      await gallery.export(`${file}.jsonl`);
      const other = await Gallery.open(join(dirname(file), 'other.db'), { recognizer: made });
      await other.enrollFeatures(names[1]!, faceOf('someone else'));
      expect(await codeOf(other.import(`${file}.jsonl`))).toBe('ERR_NAME_TAKEN');
      expect(await other.import(`${file}.jsonl`, { sameName: 'add' })).toMatchObject({ added: { people: 2, faces: 6 } });
      expect((await other.person(names[1]!))!.faces).toBe(3);
      await other.close();
    }));
});

describe('a copy', () => {
  it('has the same people, faces and answers, from an encrypted gallery to a plain one and back', () =>
    withFolder(async (folder) => {
      const encryptionKey = new Uint8Array(32).fill(7);
      const from = await Gallery.open(join(folder, 'from.db'), { recognizer: made, encryptionKey });
      const to = await Gallery.open(join(folder, 'to.db'), { recognizer: made });
      await filled(from, names.slice(0, 300));
      expect(await from.copyTo(to)).toMatchObject({ people: 300, added: { people: 300, faces: 600 } });
      expect(await from.copyTo(to)).toMatchObject({ people: 300, added: { people: 0, faces: 0 } });
      expect(await everybody(to)).toEqual(await everybody(from));
      await to.enrollFeatures('New', faceOf('New'));
      expect(await to.copyTo(from)).toMatchObject({ added: { people: 1, faces: 1 } });
      await from.close();
      await to.close();
    }));
});

describe('a gallery opened without a recogniser', () => {
  it('lists, changes and exports, and builds no index', () =>
    withGallery(async (gallery, file) => {
      await filled(gallery, names.slice(0, 5));
      const plain = await Gallery.open(file);
      expect((await plain.describe()).index).toEqual({});
      expect(plain.mark).toEqual({ model: 'made', version: '', dimension: 32, metric: 'l2' });
      expect(await everybody(plain)).toHaveLength(5);
      await plain.remove(names[0]!);
      await plain.export(`${file}.jsonl`);
      expect(existsSync(`${file}.jsonl`)).toBe(true);
      expect(await codeOf(plain.identifyFeatures(faceOf('x')))).toBe('ERR_INVALID_ARGUMENT'); // nothing to decide by
      expect((await plain.identifyFeatures(faceOf(names[1]!), { threshold: 0.5 }))[0]!.person?.name).toBe(names[1]);
      await plain.close();
    }));
});
