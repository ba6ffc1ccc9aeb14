import { describe, expect, it } from 'vitest';
import { Gallery } from '../dist/gallery';
import { codeOf, faceOf, facesOf, likeness, made, withFolder, withGallery } from './support/gallery';

describe('identify', () => {
  it('finds nobody in an empty gallery', () =>
    withGallery(async (gallery) => {
      expect(await gallery.identifyFeatures(faceOf('Ada'))).toEqual([{ found: false, matches: [] }]);
    }));

  it('finds the nearest person, and nobody who is further than the threshold', () =>
    withGallery(async (gallery) => {
      await gallery.enrollFeatures('Ada', faceOf('Ada'));
      await gallery.enrollFeatures('Bob', faceOf('Bob'));
      const [ada, bob, nobody] = await gallery.identifyFeatures(facesOf(likeness('Ada', 'left'), likeness('Bob', 'left'), faceOf('Eve')));
      expect([ada!.person?.name, bob!.person?.name, nobody!.person]).toEqual(['Ada', 'Bob', undefined]);
      expect([ada!.found, bob!.found, nobody!.found]).toEqual([true, true, false]);
      expect(ada!.matches[0]!.score).toBeCloseTo(0.2, 5); // plain Euclidean distance
      expect(nobody!.matches).toHaveLength(1); // the nearest is told all the same
    }));

  it('counts a person once, by the nearest of many faces, and still finds the others behind them', () =>
    withGallery(async (gallery) => {
      await gallery.enrollFeatures('Ada', facesOf(...Array.from({ length: 300 }, (_, i) => likeness('Ada', `${i}`))));
      await gallery.enrollFeatures('Bob', facesOf(faceOf('Bob'), likeness('Bob', 'left')));
      const [{ matches } = { matches: [] }] = await gallery.identifyFeatures(likeness('Ada', '7'), { top: 2 });
      expect(matches.map(({ person }) => person.name)).toEqual(['Ada', 'Bob']);
      expect(matches[0]!.score).toBeLessThan(1e-3);
      expect(matches[0]!.face).toBe((await gallery.faces('Ada'))[7]!.id);
    }));

  it('compares by angle where the metric is cosine', () =>
    withGallery(
      async (gallery) => {
        await gallery.enrollFeatures(
          'Ada',
          faceOf('Ada').map((number) => number * 7),
        );
        const [decision] = await gallery.identifyFeatures(faceOf('Ada').map((number) => number * 0.01));
        expect(decision!.found).toBe(true);
        expect(decision!.matches[0]!.score).toBeCloseTo(1, 5);
        expect((await gallery.identifyFeatures(faceOf('Bob')))[0]!.found).toBe(false);
      },
      { recognizer: { ...made, metric: 'cosine', threshold: 0.9 } },
    ));

  it('asks only those whose metadata say so', () =>
    withGallery(async (gallery) => {
      await gallery.enrollFeatures('Ada', faceOf('Ada'), { metadata: { team: 'red', floor: 1 } });
      await gallery.enrollFeatures('Ada too', likeness('Ada', 'twin'), { metadata: { team: 'blue', floor: 2, 'it\'s "quoted"': true } });
      const who = async (filter: Parameters<Gallery['identifyFeatures']>[1]) =>
        (await gallery.identifyFeatures(faceOf('Ada'), filter))[0]!.person?.name;
      expect(await who({})).toBe('Ada');
      expect(await who({ filter: { team: 'blue' } })).toBe('Ada too');
      expect(await who({ filter: { floor: [2, 3] } })).toBe('Ada too');
      expect(await who({ filter: { floor: '1' } })).toBeUndefined();
      expect(await who({ filter: { team: 'red', floor: 2 } })).toBeUndefined();
      expect(await who({ filter: { 'it\'s "quoted"': true } })).toBe('Ada too');
      expect(await who({ filter: { toString: 'x' } })).toBeUndefined();
    }));

  it('can be stopped', () =>
    withGallery(async (gallery) => {
      await gallery.enrollFeatures('Ada', faceOf('Ada'));
      const reason = new Error('enough');
      await expect(gallery.identifyFeatures(faceOf('Ada'), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    }));
});

describe('verify', () => {
  it('compares with one person only', () =>
    withGallery(async (gallery) => {
      await gallery.enrollFeatures('Ada', facesOf(faceOf('Ada'), likeness('Ada', 'left')));
      await gallery.enrollFeatures('Bob', faceOf('Bob'));
      expect(await gallery.verifyFeatures('Ada', likeness('Ada', 'left'))).toMatchObject({ same: true, threshold: 0.6, person: { name: 'Ada' } });
      const other = await gallery.verifyFeatures('Ada', faceOf('Bob'));
      expect(other.same).toBe(false);
      expect(other.score).toBeGreaterThan(0.6);
      expect(await codeOf(gallery.verifyFeatures('Eve', faceOf('Eve')))).toBe('ERR_PERSON_UNKNOWN');
    }));

  it('says no for a person without faces', () =>
    withGallery(async (gallery) => {
      const { faces } = await gallery.enrollFeatures('Ada', faceOf('Ada'));
      await gallery.removeFace(faces[0]!);
      const verification = await gallery.verifyFeatures('Ada', faceOf('Ada'));
      expect(verification.same).toBe(false);
      expect(verification.score).toBeUndefined();
    }));
});

describe('enroll', () => {
  it('adds to the person of that name, and does nothing twice with the same ids', () =>
    withGallery(async (gallery) => {
      const first = await gallery.enrollFeatures('Ada', faceOf('Ada'), { faceIds: ['ada-1'], id: 'ada' });
      expect(first).toMatchObject({ created: true, added: 1, faces: ['ada-1'], person: { id: 'ada', name: 'Ada' } });
      const second = await gallery.enrollFeatures('Ada', facesOf(faceOf('Ada'), likeness('Ada', 'left')), { faceIds: ['ada-1', 'ada-2'] });
      expect(second).toMatchObject({ created: false, added: 1, person: { id: 'ada' } });
      expect(await codeOf(gallery.enrollFeatures('Bob', faceOf('Bob'), { faceIds: ['ada-2'] }))).toBe('ERR_ID_TAKEN');
      expect(await gallery.person('Bob')).toBeUndefined(); // not half of it
      expect((await gallery.faces({ id: 'ada' })).map(({ id }) => id)).toEqual(['ada-1', 'ada-2']);
      expect(await codeOf(gallery.enrollFeatures({ id: 'nobody' }, faceOf('Eve')))).toBe('ERR_PERSON_UNKNOWN');
    }));

  it('keeps what concurrent calls give to one name with one person', () =>
    withGallery(async (gallery) => {
      const kept = await Promise.all(Array.from({ length: 40 }, (_, i) => gallery.enrollFeatures('Ada', likeness('Ada', `${i}`))));
      expect(kept.filter(({ created }) => created)).toHaveLength(1);
      expect((await gallery.person('Ada'))!.faces).toBe(40);
    }));

  it('is found by a search that starts once it has resolved', () =>
    withGallery(async (gallery) => {
      for (let i = 0; i < 50; i++) {
        await gallery.enrollFeatures(`Person ${i}`, faceOf(`${i}`));
        expect((await gallery.identifyFeatures(faceOf(`${i}`)))[0]!.person?.name).toBe(`Person ${i}`);
      }
    }));

  it.each([
    ['too few numbers', faceOf('Ada').subarray(1), 'ERR_DIMENSION_MISMATCH'],
    ['none', new Float32Array(0), 'ERR_EMPTY_INPUT'],
    ['no number', faceOf('Ada').map((number, i) => (i === 3 ? NaN : number)), 'ERR_NOT_FINITE'],
    ['an infinite one', faceOf('Ada').map((number, i) => (i === 3 ? Infinity : number)), 'ERR_NOT_FINITE'],
    ['another array', [1, 2, 3], 'ERR_INVALID_ARGUMENT'],
  ])('refuses features with %s', (_, features, code) =>
    withGallery(async (gallery) => {
      expect(await codeOf(gallery.enrollFeatures('Ada', features as Float32Array))).toBe(code);
      expect(await codeOf(gallery.identifyFeatures(features as Float32Array))).toBe(code);
      expect((await gallery.describe()).people).toBe(0);
    }),
  );

  it('tells who has no recogniser for photos', () =>
    withGallery(async (gallery) => {
      expect(await codeOf(gallery.enroll('Ada', 'ada.jpg', { quality: false }))).toBe('ERR_IMAGE_NOT_FOUND');
      expect(await codeOf(gallery.identify('ada.jpg'))).toBe('ERR_NO_RECOGNIZER');
    }));
});

describe('people', () => {
  it('are renamed, changed and removed', () =>
    withGallery(async (gallery) => {
      await gallery.enrollFeatures('Ada', faceOf('Ada'), { metadata: { team: 'red' } });
      await gallery.enrollFeatures('Bob', faceOf('Bob'));
      expect(await codeOf(gallery.rename('Ada', 'Bob'))).toBe('ERR_NAME_TAKEN');
      expect((await gallery.rename('Ada', 'Ada Lovelace')).name).toBe('Ada Lovelace');
      expect((await gallery.setMetadata('Ada Lovelace', { born: 1815 })).metadata).toEqual({ born: 1815 });
      const [decision] = await gallery.identifyFeatures(faceOf('Ada'));
      expect(decision!.person).toMatchObject({ name: 'Ada Lovelace', metadata: { born: 1815 } });
      expect(await codeOf(gallery.rename('Ada', 'Eve'))).toBe('ERR_PERSON_UNKNOWN');
      expect(await gallery.remove('Ada Lovelace')).toBe(1);
      expect((await gallery.identifyFeatures(faceOf('Ada')))[0]!.found).toBe(false);
      expect(await codeOf(gallery.remove('Ada Lovelace'))).toBe('ERR_PERSON_UNKNOWN');
      expect(await codeOf(gallery.removeFace('nothing'))).toBe('ERR_FACE_UNKNOWN');
    }));

  it('are listed by name, page by page, while others come and go', () =>
    withGallery(async (gallery) => {
      const names = Array.from({ length: 25 }, (_, i) => `Person ${String(i).padStart(2, '0')}`);
      await Promise.all(names.map((name, i) => gallery.enrollFeatures(name, faceOf(name), { metadata: { even: i % 2 === 0 } })));
      const first = await gallery.list({ limit: 10 });
      expect(first.items.map(({ name }) => name)).toEqual(names.slice(0, 10));
      await gallery.remove('Person 09'); // the page's last
      const second = await gallery.list({ limit: 10, cursor: first.next! });
      expect(second.items.map(({ name }) => name)).toEqual(names.slice(10, 20));
      const third = await gallery.list({ limit: 10, cursor: second.next! });
      expect(third.next).toBeUndefined();
      expect((await gallery.list({ limit: 5, filter: { even: true } })).items.map(({ name }) => name)).toEqual(
        names.filter((_, i) => i % 2 === 0).slice(0, 5),
      );
      const all: string[] = [];
      for await (const { name } of gallery.people()) all.push(name);
      expect(all).toEqual(names.filter((name) => name !== 'Person 09'));
    }));
});

describe('hostile input', () => {
  it.each([
    ['quotes', `Robert'); DROP TABLE people;-- "quoted" \`too\``],
    ['right-to-left marks', '\u202eadA\u202c \u200fעדה'],
    ['other planes', '𝔄𝔡𝔞 👩‍💻'],
    ['wildcards', '%_*?[a]'],
    ['names of properties', '__proto__'],
    ['backslashes', 'a\\b\\0'],
    ['the longest name', 'é'.repeat(512)],
  ])('takes a name with %s as it is', (_, name) =>
    withGallery(async (gallery) => {
      await gallery.enrollFeatures(name, faceOf('Ada'), { metadata: { [name]: name, constructor: 'x' } });
      expect((await gallery.list()).items.map((person) => person.name)).toEqual([name]);
      const [decision] = await gallery.identifyFeatures(faceOf('Ada'), { filter: { [name]: name } });
      expect(decision!.person!.name).toBe(name);
      expect(decision!.person!.metadata).toEqual({ [name]: name, constructor: 'x' });
      await gallery.remove(name);
      expect((await gallery.list()).items).toEqual([]);
    }),
  );

  it.each([
    ['a NUL', 'Ada\0Bob'],
    ['a line break', 'Ada\nBob'],
    ['an escape sequence', '\u001b[31mAda'],
    ['half of a character', 'Ada\ud800'],
    ['1 MB of text', 'A'.repeat(1 << 20)],
    ['nothing', ''],
    ['spaces only', '  '],
    ['no text', 7],
  ])('refuses a name with %s', (_, name) =>
    withGallery(async (gallery) => {
      const error = await gallery.enrollFeatures(name as string, faceOf('Ada')).catch((error: Error) => error);
      expect(error).toMatchObject({ code: 'ERR_INVALID_ARGUMENT' });
      expect((error as Error).message.length).toBeLessThan(300);
      expect(await codeOf(gallery.rename({ id: 'x' }, name as string))).toBe('ERR_INVALID_ARGUMENT');
      expect((await gallery.describe()).people).toBe(0);
    }),
  );

  it('takes two ways to write a letter as one name', () =>
    withGallery(async (gallery) => {
      await gallery.enrollFeatures('Zoë', faceOf('Zoe'));
      expect((await gallery.enrollFeatures('Zoë'.normalize('NFD'), likeness('Zoe', 'left'))).created).toBe(false);
    }));

  it.each([
    ['a list', []],
    [
      'a cycle',
      (() => {
        const cycle: Record<string, unknown> = {};
        cycle.self = cycle;
        return cycle;
      })(),
    ],
    ['a bigint', { n: 1n }],
    ['too much', { text: 'x'.repeat(65536) }],
    ['null', null],
  ])('refuses metadata of %s', (_, metadata) =>
    withGallery(async (gallery) => {
      expect(await codeOf(gallery.enrollFeatures('Ada', faceOf('Ada'), { metadata: metadata as never }))).toBe('ERR_INVALID_ARGUMENT');
    }),
  );

  it.each([
    ['a space', 'a b'],
    ['a path', '../x'],
    ['65 characters', 'x'.repeat(65)],
    ['nothing', ''],
  ])('refuses an id of %s', (_, id) =>
    withGallery(async (gallery) => {
      expect(await codeOf(gallery.enrollFeatures('Ada', faceOf('Ada'), { id }))).toBe('ERR_INVALID_ARGUMENT');
      expect(await codeOf(gallery.enrollFeatures('Ada', faceOf('Ada'), { faceIds: [id] }))).toBe('ERR_INVALID_ARGUMENT');
    }),
  );
});

describe('close', () => {
  it('waits for what is under way, and refuses what comes later', () =>
    withFolder(async (folder) => {
      const gallery = await Gallery.open(`${folder}/people.db`, { recognizer: made });
      const enrolling = Array.from({ length: 20 }, (_, i) => gallery.enrollFeatures(`Person ${i}`, faceOf(`${i}`)));
      await gallery.close();
      await Promise.all(enrolling);
      expect(await codeOf(gallery.list())).toBe('ERR_CLOSED');
      expect(await codeOf(gallery.close())).toBe('ERR_CLOSED');
      const again = await Gallery.open(`${folder}/people.db`, { recognizer: made });
      expect((await again.describe()).people).toBe(20);
      await again.close();
    }));
});

describe('size', () => {
  it('changes to lists in the background beyond the limit, without missing what happens meanwhile, and measures its recall', () =>
    withGallery(
      async (gallery) => {
        const enroll = (from: number, to: number) =>
          Promise.all(Array.from({ length: to - from }, (_, i) => gallery.enrollFeatures(`Person ${from + i}`, faceOf(`${from + i}`))));
        await enroll(0, 2000);
        expect((await gallery.describe()).index).toMatchObject({ index: 'IDMap,Flat', faces: 2000 });
        await enroll(2000, 2100);
        let asked = 0;
        for (let next = 2100; ; next++) {
          await gallery.enrollFeatures(`Person ${next}`, faceOf(`${next}`));
          await gallery.remove(`Person ${next - 2000}`);
          const [there, gone] = await gallery.identifyFeatures(facesOf(faceOf(`${next}`), faceOf(`${next - 2000}`)));
          expect([there!.person?.name, gone!.found]).toEqual([`Person ${next}`, false]);
          asked++;
          if (!(await gallery.describe()).index.building) break;
        }
        expect(asked).toBeGreaterThan(1); // some of it while the lists were being built
        const { index } = await gallery.describe();
        expect(index).toMatchObject({ index: expect.stringMatching(/^IVF\d+,Flat$/), faces: 2100 });
        expect(index.recall).toBeGreaterThan(0.9);
        expect(index.nprobe).toBeGreaterThan(0);
        for (const i of [5, 1999, 2050]) {
          const [decision] = await gallery.identifyFeatures(faceOf(`${i}`));
          expect(decision!.person?.name).toBe(i === 5 && asked > 5 ? decision!.person?.name : `Person ${i}`);
        }
      },
      { flatUpTo: 2050 },
    ));

  it.each([
    ['HNSW16', /^IDMap,HNSW16$/],
    ['IVF16,Flat', /^IVF16,Flat$/],
  ])('can be told to use %s', (description, name) =>
    withGallery(
      async (gallery) => {
        await Promise.all(Array.from({ length: 700 }, (_, i) => gallery.enrollFeatures(`Person ${i}`, faceOf(`${i}`))));
        while ((await gallery.describe()).index.building) await new Promise((resolve) => setTimeout(resolve, 20));
        expect((await gallery.describe()).index).toMatchObject({ index: expect.stringMatching(name) });
        await gallery.remove('Person 3');
        const [gone, there] = await gallery.identifyFeatures(facesOf(faceOf('3'), faceOf('4')));
        expect([gone!.found, there!.person?.name]).toEqual([false, 'Person 4']);
      },
      { index: description },
    ),
  );
});
