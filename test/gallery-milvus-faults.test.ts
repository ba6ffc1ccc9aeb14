import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setTimeout as pause } from 'node:timers/promises';
import { MilvusStore, type MilvusStoreOptions } from '../dist/gallery/milvus-store';
import type { Enrolment } from '../dist/gallery/store';
import { missing, MilvusServer } from './support/milvus-server';
import { TcpProxy } from './support/tcp-proxy';
import { seeded } from './support/vectors';

const DIMENSION = 16;
const mark = { model: 'made', version: '1', dimension: DIMENSION, metric: 'l2' as const };

if (missing !== undefined) console.log(`skipped: ${missing}`);

let number = 0;

/** One person with some faces. */
function someone(faces = 3): Enrolment {
  const id = `p${++number}`;
  const face = (i: number) => ({ id: `${id}-${i}`, created: new Date(), features: seeded(DIMENSION, number * 100 + i) });
  return { id, name: `Person ${number}`, faces: Array.from({ length: faces }, (_, i) => face(i)) };
}

/** Everybody with the ids of all faces, as a connection of its own sees it. */
async function everybody(url: string): Promise<Record<string, string[]>> {
  const store = await MilvusStore.open(url, { mark });
  const found: Record<string, string[]> = {};
  for await (const { person, faces } of store.entries()) {
    expect(found[person.id], `${person.id} is there once`).toBeUndefined();
    found[person.id] = faces.map(({ id }) => id);
  }
  await store.close();
  return found;
}

const expected = (enrolments: Enrolment[]) => Object.fromEntries(enrolments.map(({ id, faces }) => [id, faces.map((face) => face.id)]));

describe.skipIf(missing !== undefined)('a gallery on a Milvus server that fails', () => {
  let server: MilvusServer;
  let proxy: TcpProxy;
  const open = (collection: string, options: Partial<MilvusStoreOptions> = {}) =>
    MilvusStore.open(server.url(collection, proxy.port), { mark, ...options });

  beforeAll(async () => {
    server = await MilvusServer.start();
    proxy = await TcpProxy.start(server.port);
  });
  afterAll(async () => {
    await proxy.refuse();
    await server.remove();
  });

  it.each(['up', 'down'] as const)('keeps everybody once where connections end in the middle of what goes %s', async (way) => {
    const store = await open(`cut_${way}`);
    const kept: Enrolment[] = [];
    const before = proxy.cuts;
    for (let bytes = 0; bytes < 4000; bytes += 300) {
      const one = someone();
      proxy.cutAfter(bytes, way);
      await store.enroll([one], { sameName: 'refuse' });
      kept.push(one);
    }
    expect(proxy.cuts - before).toBeGreaterThan(8);
    await store.close();
    expect(await everybody(server.url(`cut_${way}`))).toEqual(expected(kept));
  });

  it('says that a server is away, and takes the same again when it is back', async () => {
    const store = await open('away', { retryFor: 2000 });
    const [first, second] = [someone(), someone()];
    await store.enroll([first], { sameName: 'refuse' });
    await proxy.refuse();
    const failure = await store.enroll([second], { sameName: 'refuse' }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ name: 'FaissVisionError', code: 'ERR_GALLERY_UNREACHABLE' });
    expect((failure as Error).message).toMatch(/^milvus:\/\/127\.0\.0\.1:\d+\/away: .*ECONNREFUSED.* \(\d+ attempts in [\d.]+ s\)$/);
    await expect(store.search(first.faces[0]!.features, 1)).rejects.toMatchObject({ code: 'ERR_GALLERY_UNREACHABLE' });
    await proxy.accept();
    await store.enroll([first, second], { sameName: 'refuse' });
    await store.close();
    expect(await everybody(server.url('away'))).toEqual(expected([first, second]));
  });

  it('waits for a server that is slow, and says so where it takes too long', async () => {
    const store = await open('slow', { timeout: 2000, retryFor: 120_000 });
    const one = someone();
    proxy.silent = true;
    const enrolling = store.enroll([one], { sameName: 'refuse' });
    await pause(4500); // more than one attempt
    proxy.silent = false;
    expect(await enrolling).toMatchObject([{ added: 3 }]);
    await store.close();
    proxy.silent = true;
    // All that it does is asked in the same way; opening it is the first of that.
    await expect(open('slow', { timeout: 300, retryFor: 600 })).rejects.toMatchObject({
      code: 'ERR_GALLERY_UNREACHABLE',
      message: expect.stringContaining('no answer in time'),
    });
    proxy.silent = false;
    expect(await everybody(server.url('slow'))).toEqual(expected([one]));
  });

  it('has everybody who was acknowledged after a kill of the server, once and whole', async () => {
    const store = await open('killed', { retryFor: 120_000 });
    const acknowledged: Enrolment[] = [];
    let stop = false;
    let changes = 0;
    const client = async () => {
      for (let one = someone(); !stop; one = someone()) {
        await store.enroll([one], { sameName: 'refuse' });
        // A change and a removal as well: they write over what was acknowledged.
        await store.update(one.id, { metadata: { seen: true } });
        acknowledged.push(one);
        if (++changes % 4 === 0) await store.removePerson(acknowledged.shift()!.id);
      }
    };
    const clients = [client(), client(), client()];
    for (let round = 0; round < 5; round++) {
      for (const before = changes; changes < before + 3;) await pause(10);
      await pause(100 * Math.random());
      await server.kill();
      await pause(100);
      await server.start();
    }
    stop = true;
    await Promise.all(clients);
    // Searches find them without a word that the server has restarted.
    await server.kill();
    await server.start();
    const last = acknowledged.at(-1)!;
    expect(await store.search(last.faces[0]!.features, 1)).toMatchObject([[{ person: { id: last.id, metadata: { seen: true } } }]]);
    await store.close();
    expect(acknowledged.length).toBeGreaterThan(10);
    expect(await everybody(server.url('killed'))).toEqual(expected(acknowledged));
  });
});
