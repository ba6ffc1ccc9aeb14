import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect, it } from 'vitest';
import { Gallery } from '../dist/gallery';
import { faceOf, facesOf, made, withFolder } from './support/gallery';

/** How often the child is killed: 200 in a long run. */
const kills = Number(process.env.GALLERY_KILLS ?? 20);
const child = join(__dirname, 'support', 'gallery-child.cjs');

/** What a child has said that was killed some time after its fourth enrolment, of which some wait for the same write. */
async function killed(file: string, first: number, after: number, keep: boolean): Promise<string[]> {
  const process_ = spawn(process.execPath, [child, file, String(first), '1000000000', ...(keep ? ['keep'] : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  let enrolled = 0;
  for await (const line of createInterface({ input: process_.stdout })) {
    lines.push(line);
    if (line.startsWith('!')) throw new Error(line);
    if (line.startsWith('+')) enrolled++;
    if (enrolled > 3) timer ??= setTimeout(() => process_.kill('SIGKILL'), after);
  }
  return lines;
}

it(
  `keeps everything acknowledged through ${kills} kills`,
  () =>
    withFolder(async (folder) => {
      const file = join(folder, 'people.db');
      const there = new Set<string>();
      const gone = new Set<string>();
      let next = 0;
      let random = 1;
      for (let round = 0; round < kills; round++) {
        random = (random * 48271) % 2147483647;
        const lines = await killed(file, next, random % 120, round % 2 === 1);
        const acknowledged = lines.filter((line) => line.startsWith('+')).map((line) => line.slice(1));
        const maybe = new Set(lines.filter((line) => line.startsWith('?')).map((line) => line.slice(1)));
        const removed = lines.filter((line) => line.startsWith('-')).map((line) => line.slice(1));
        removed.forEach((name) => gone.add(name));
        for (const name of acknowledged) if (!maybe.has(name)) there.add(name);

        // What a kill leaves, before anything of ours looks at it.
        const db = new Database(file);
        expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
        expect(db.pragma('foreign_key_check')).toEqual([]);
        db.close();
        // Every other time with a file of the index, which the next child, that removes nobody, goes on from.
        const gallery = await Gallery.open(file, { recognizer: made, snapshot: round % 2 === 0 });
        const { index } = await gallery.describe();
        if (round % 2 === 1) expect(index.from).toBe('snapshot');
        const names = new Set<string>();
        for await (const person of gallery.people()) {
          expect(person.faces, person.name).toBe(2);
          names.add(person.name);
          next = Math.max(next, Number(person.name.slice('Person '.length)) + 1);
        }
        for (const name of there) expect(names.has(name), name).toBe(true);
        for (const name of gone) expect(names.has(name), name).toBe(false);
        const asked = round === kills - 1 ? [...names] : [...names].slice(-200);
        for (let at = 0; at < asked.length; at += 500) {
          const some = asked.slice(at, at + 500);
          const found = await gallery.identifyFeatures(facesOf(...some.map((name, i) => faceOf(i % 2 === 0 ? name : `${name} too`))));
          expect(found.map(({ person }) => person?.name)).toEqual(some);
        }
        await gallery.close();
      }
      expect(there.size).toBeGreaterThan(kills);
      expect(gone.size).toBeGreaterThan(0);
    }),
  20 * 60_000,
);
