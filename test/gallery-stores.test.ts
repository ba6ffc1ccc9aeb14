import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Gallery, type GalleryRecognizer } from 'faiss-vision/gallery';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { missing, MilvusServer } from './support/milvus-server';
import { seeded } from './support/vectors';

if (missing !== undefined) console.log(`skipped, but for SQLite: ${missing}`);

const DIMENSION = 32;
/** On a machine that has other things to do; usually some seconds. */
const SLOW_MS = 300_000;

/** Features come from elsewhere, except for a change of model, which sees thumbnails. */
const recognizer = (metric: 'l2' | 'cosine'): GalleryRecognizer => ({
  model: 'made',
  version: '1',
  dimension: DIMENSION,
  metric,
  threshold: metric === 'l2' ? 1 : 0.9,
});

/** A face of somebody: the person's own place, and some noise. */
function face(person: number, photo: number, noise = 0.05): Float32Array {
  const [own, other] = [seeded(DIMENSION, person), seeded(DIMENSION, 1000 * person + photo)];
  return own.map((number, i) => number + noise * other[i]!);
}

function faces(person: number, count: number): Float32Array {
  const all = new Float32Array(count * DIMENSION);
  for (let i = 0; i < count; i++) all.set(face(person, i), i * DIMENSION);
  return all;
}

// Two ways of adding up 32-bit numbers differ in the last bits, and the root of a small difference is larger.
const DIGITS = 3;
/** What an answer says, without times, which differ from run to run. */
function told(answer: unknown): unknown {
  return JSON.parse(JSON.stringify(answer) ?? 'null', (key, value: unknown) => {
    if (key === 'created' && typeof value === 'boolean') return value;
    if (key === 'created' || key === 'updated') return 'a time';
    return typeof value === 'number' ? Number(value.toFixed(DIGITS)) + 0 : value;
  });
}

const NAMES = ['Ada', 'Grace', 'O\'Brien "Bob" \\', 'Łukasz', '日本 太郎', 'שלום\u200f', 'a%_b', '😀', 'ada'];

/** Does the same to whatever gallery it is given, and writes down all answers. */
async function story(location: string, other: string, folder: string, metric: 'l2' | 'cosine'): Promise<{ step: string; answer: unknown }[]> {
  const log: { step: string; answer: unknown }[] = [];
  const step = async (name: string, work: () => Promise<unknown>) => {
    const answer = await work().catch((error: { code: string; message: string }) => ({ code: error.code }));
    log.push({ step: name, answer: told(answer) });
  };
  const queries = () => {
    const all = new Float32Array((NAMES.length + 1) * DIMENSION);
    for (let i = 0; i <= NAMES.length; i++) all.set(face(i, 77), i * DIMENSION);
    return all;
  };

  let gallery = await Gallery.open(location, { recognizer: recognizer(metric) });
  for (const [i, name] of NAMES.entries()) {
    const faceIds = Array.from({ length: 1 + (i % 3) }, (_, n) => `face-${i}-${n}`);
    await step(`enroll ${name}`, () =>
      gallery.enrollFeatures(name, faces(i, faceIds.length), {
        id: `person-${i}`,
        faceIds,
        metadata: { team: i % 2 ? 'odd' : 'even', i, 'k "y': i > 4, n: { deep: [1, null, 'x'] } },
      }),
    );
  }
  await step('enroll again', () => gallery.enrollFeatures('Ada', faces(0, 1), { faceIds: ['face-0-0'] }));
  await step('add a face', () => gallery.enrollFeatures('Ada', face(0, 5), { faceIds: ['face-0-5'] }));
  await step('a taken face id', () => gallery.enrollFeatures('Grace', face(1, 5), { faceIds: ['face-0-5'] }));
  await step('identify', () => gallery.identifyFeatures(queries(), { top: 3 }));
  await step('identify everybody', () => gallery.identifyFeatures(face(3, 5), { top: 100 }));
  await step('identify a team', () => gallery.identifyFeatures(queries(), { top: 2, filter: { team: 'odd' } }));
  await step('identify one of some', () => gallery.identifyFeatures(face(2, 9), { top: 5, filter: { i: [2, 4, '6', 1.5], 'k "y': false } }));
  await step('identify nobody', () => gallery.identifyFeatures(face(2, 9), { filter: { i: '2' } }));
  await step('verify', () => gallery.verifyFeatures('Ada', face(0, 9)));
  await step('verify another', () => gallery.verifyFeatures('Grace', face(0, 9)));
  await step('verify nobody', () => gallery.verifyFeatures('Nobody', face(0, 9)));
  await step('person', () => gallery.person('O\'Brien "Bob" \\'));
  await step('faces', () => gallery.faces('Ada'));
  await step('rename', () => gallery.rename('Ada', 'Zoë'));
  await step('rename to a taken name', () => gallery.rename('Grace', 'Łukasz'));
  await step('the old name', () => gallery.person('Ada'));
  await step('metadata', () => gallery.setMetadata('Grace', { team: 'new' }));
  await step('identify after the change', () => gallery.identifyFeatures(queries(), { filter: { team: 'new' } }));
  await step('remove', () => gallery.remove('日本 太郎'));
  await step('remove again', () => gallery.remove('日本 太郎'));
  await step('remove a face', () => gallery.removeFace('face-0-5'));
  await step('remove it again', () => gallery.removeFace('face-0-5'));
  await step('identify after removals', () => gallery.identifyFeatures(queries(), { top: 2 }));
  const pages: unknown[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await gallery.list({ limit: 3, ...(cursor !== undefined && { cursor }) });
    pages.push(page.items);
    if (page.next === undefined) break;
    cursor = page.next;
  }
  log.push({ step: 'list', answer: told(pages) });
  await step('list a team', () => gallery.list({ filter: { team: 'even' } }));
  await gallery.close();

  const opened = await Gallery.open(location, { recognizer: { ...recognizer(metric), version: '2' } }).catch((error: { code: string }) => error.code);
  log.push({ step: 'open with another model', answer: opened });

  gallery = await Gallery.open(location, { recognizer: recognizer(metric) });
  await step('identify after a restart', () => gallery.identifyFeatures(queries(), { top: 2 }));
  const file = join(folder, 'people.jsonl');
  await step('export', () => gallery.export(file));
  log.push({
    step: 'what was exported',
    answer: told(
      readFileSync(file, 'utf8')
        .split('\n')
        .slice(1, -2)
        .map((line) => JSON.parse(line) as unknown),
    ),
  });
  await step('forget everybody', async () => {
    for await (const { id } of gallery.people()) await gallery.remove({ id });
    return gallery.list();
  });
  await step('import', () => gallery.import(file));
  await step('import again', () => gallery.import(file));
  await step('identify what was imported', () => gallery.identifyFeatures(queries(), { top: 2 }));

  const target = await Gallery.open(other, { recognizer: recognizer(metric) });
  const progress: number[][] = [];
  await step('move', () => gallery.copyTo(target, { onProgress: (...now) => progress.push(now) }));
  expect(progress.at(-1)).toEqual([8, 8]);
  await step('move again', () => gallery.copyTo(target));
  await step('identify in the other store', () => target.identifyFeatures(queries(), { top: 2 }));
  await target.close();

  await step('forget all before they come back', async () => {
    for await (const { id } of gallery.people()) await gallery.remove({ id });
  });
  const back = await Gallery.open(other, { recognizer: recognizer(metric) });
  await step('move back', () => back.copyTo(gallery));
  await back.close();
  await step('identify what came back', () => gallery.identifyFeatures(queries(), { top: 2 }));
  await step('everybody who came back', () => gallery.list());
  await gallery.close();

  // The next model sees which face it is, and makes something else of it.
  const anew = (id: string) => seeded(8, Number(id.split('-')[1]) * 10 + Number(id.split('-')[2]) + 500);
  const next = (without?: string) => ({
    recognizer: {
      ...recognizer(metric),
      version: '2',
      dimension: 8,
      faces: (image: unknown) => Promise.resolve([{ features: anew(image as string) }] as never),
    },
    photo: ({ id }: { id: string }) => (id === without ? undefined : id),
  });
  const reembed = (without?: string) => Gallery.reembed(location, next(without)).then(({ faces: count, embedded }) => ({ count, embedded }));
  await step('embed anew without one photo', () => reembed('face-2-1'));
  await step('embed anew', () => reembed());
  gallery = await Gallery.open(location, { recognizer: next().recognizer });
  await step('identify by the new model', () => gallery.identifyFeatures(Float32Array.from([...anew('face-2-1'), ...anew('face-0-0')]), { top: 2 }));
  await step('everybody at the end', () => gallery.list());
  await gallery.close();
  return log;
}

describe('the same story', () => {
  const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-stores-'));
  let server: MilvusServer | undefined;
  beforeAll(async () => {
    if (missing === undefined) server = await MilvusServer.start();
  });
  afterAll(async () => {
    await server?.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  it.each(['l2', 'cosine'] as const)('has the expected end in SQLite (%s)', async (metric) => {
    const log = await story(join(folder, `${metric}.db`), join(folder, `${metric}-other.db`), folder, metric);
    const answers = Object.fromEntries(log.map(({ step, answer }) => [step, answer])) as Record<string, never>;
    const names = (decisions: { found: boolean; person?: { name: string } }[]) =>
      decisions.map(({ found, person }) => (found ? person!.name : undefined));
    expect(names(answers['identify']!)).toEqual([...NAMES, undefined]);
    expect(names(answers['identify after removals']!)).toEqual(['Zoë', ...NAMES.slice(1, 4), undefined, ...NAMES.slice(5), undefined]);
    for (const step of ['identify after a restart', 'identify what was imported', 'identify in the other store', 'identify what came back']) {
      expect(answers[step], step).toEqual(answers['identify after removals']);
    }
    expect(names(answers['identify by the new model']!)).toEqual([NAMES[2], 'Zoë']);
  });

  it.skipIf(missing !== undefined).each(['l2', 'cosine'] as const)(
    'has the same answers on a Milvus server as in SQLite (%s)',
    { timeout: SLOW_MS },
    async (metric) => {
      const sqlite = await story(join(folder, `same-${metric}.db`), server!.url(`from_sqlite_${metric}`), folder, metric);
      const milvus = await story(server!.url(`people_${metric}`), join(folder, `from-milvus-${metric}.db`), folder, metric);
      expect(milvus).toEqual(sqlite);
    },
  );
});
