import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttp2, connect as connectHttp2, type Http2Server } from 'node:http2';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createServer as createTls, type Server as TlsServer } from 'node:tls';
import { MilvusClient } from '@zilliz/milvus2-sdk-node';
import { Gallery, type GalleryOptions } from 'faiss-vision/gallery';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { missing, MilvusServer } from './support/milvus-server';
import { seeded } from './support/vectors';

if (missing !== undefined) console.log(`skipped: ${missing}`);

const DIMENSION = 16;
const recognizer = { model: 'made', version: '1', dimension: DIMENSION, metric: 'l2' as const, threshold: 1 };
const child = join(__dirname, 'support/gallery-milvus-child.cjs');
const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error as Error & { code: string },
  );

async function everybody(gallery: Gallery): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for await (const { id, faces } of gallery.people()) {
    expect(found[id], `${id} is listed once`).toBeUndefined();
    found[id] = faces;
  }
  return found;
}

describe.skipIf(missing !== undefined)('a gallery on a Milvus server', () => {
  const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-milvus-'));
  let server: MilvusServer;
  let client: MilvusClient;
  const open = (collection: string, options: GalleryOptions = {}) => Gallery.open(server.url(collection), { recognizer, ...options });

  beforeAll(async () => {
    server = await MilvusServer.start();
    client = new MilvusClient({
      address: `127.0.0.1:${server.port}`,
      __SKIP_CONNECT__: true,
      telemetry: { enabled: false },
      logLevel: 'error',
      channelOptions: { 'grpc.keepalive_permit_without_calls': 0 },
    });
  });
  afterAll(async () => {
    await client.closeConnection();
    await server.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  describe('refuses', () => {
    it.each([
      ['milvus://', 'milvus://host:19530/collection'],
      ['milvus://127.0.0.1', 'milvus://host:19530/collection'],
      ['milvus://127.0.0.1/a/b/c', 'milvus://host:19530/collection'],
      ['milvus://127.0.0.1/people?x=1', 'milvus://host:19530/collection'],
      ['milvus://127.0.0.1/pe%20ople', 'letters, digits and _'],
      ['milvus://127.0.0.1/9people', 'letters, digits and _'],
    ])('the location %s', async (location, expected) => {
      expect(await failure(Gallery.open(location, { recognizer }))).toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringContaining(expected),
      });
    });

    it('a password in a wrong location without repeating it', async () => {
      expect((await failure(Gallery.open('milvus://root:secret@127.0.0.1:1/a/b/c', { recognizer })))!.message).not.toContain('secret');
    });

    it.each([
      [{ consistency: 'Session' }, 'consistency'],
      [{ timeout: 0 }, 'timeout'],
      [{ retryFor: '1' }, 'retryFor'],
      [{ token: '' }, 'token'],
      [{ tls: 'yes' }, 'tls'],
      [{ tls: { certFile: 'a.pem' } }, 'tls'],
      [{ indexType: 'FLAT"' }, 'indexType'],
      [{ indexParams: 4 }, 'indexParams'],
      [{ encryptionKey: new Uint8Array(32) }, 'encryptionKey'],
    ])('the options %j', async (options, name) => {
      expect(await failure(open('options', options as never))).toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringContaining(`\`${name}\``),
      });
    });

    it("another program's collection, and one of a newer version", async () => {
      const fields = [
        { name: 'id', data_type: 'Int64', is_primary_key: true },
        { name: 'vector', data_type: 'FloatVector', dim: 4 },
      ] as never;
      await client.createCollection({ collection_name: 'foreign', description: 'pictures', fields });
      expect(await failure(open('foreign'))).toMatchObject({ code: 'ERR_GALLERY_FOREIGN', message: expect.stringContaining('"pictures"') });
      await client.createCollection({ collection_name: 'newer', description: 'faiss-vision gallery, format 7', fields });
      expect(await failure(open('newer'))).toMatchObject({ code: 'ERR_GALLERY_VERSION', message: expect.stringContaining('format 7') });
    });

    it('another model, a gallery that is not there without a recogniser, changes where it is opened for reading', async () => {
      const gallery = await open('model');
      await gallery.enrollFeatures('Ada', seeded(DIMENSION, 1));
      await gallery.close();
      expect(await failure(open('model', { recognizer: { ...recognizer, version: '2' } }))).toMatchObject({ code: 'ERR_MODEL_MISMATCH' });
      expect(await failure(Gallery.open(server.url('nobody')))).toMatchObject({ code: 'ERR_GALLERY_NOT_FOUND' });
      expect(await failure(open('nobody', { readOnly: true }))).toMatchObject({ code: 'ERR_GALLERY_NOT_FOUND' });
      const reader = await open('model', { readOnly: true });
      expect(await failure(reader.enrollFeatures('Bob', seeded(DIMENSION, 2)))).toMatchObject({ code: 'ERR_GALLERY_READONLY' });
      expect(await reader.identifyFeatures(seeded(DIMENSION, 1))).toMatchObject([{ person: { name: 'Ada' } }]);
      await reader.close();
      expect(await failure(reader.list())).toMatchObject({ code: 'ERR_CLOSED' });
    });

    it('an index that the server does not have, with its own words', async () => {
      const refused = await failure(open('index', { indexType: 'NOT_AN_INDEX' }));
      expect(refused).toMatchObject({ code: 'ERR_GALLERY_REFUSED', message: expect.stringContaining('making index features') });
    });
  });

  it('searches by another index where it is told to', async () => {
    const gallery = await open('lists', { indexType: 'IVF_FLAT', indexParams: { nlist: 4 }, searchParams: { nprobe: 4 } });
    for (let i = 0; i < 20; i++) await gallery.enrollFeatures(`Person ${i}`, seeded(DIMENSION, i));
    expect(await gallery.describe()).toMatchObject({
      store: 'milvus',
      people: 20,
      faces: 20,
      index: { index_type: 'IVF_FLAT', metric_type: 'L2', nlist: '4' },
    });
    expect(await gallery.identifyFeatures(seeded(DIMENSION, 7))).toMatchObject([{ person: { name: 'Person 7' } }]);
    await gallery.close();
  });

  it('finds people behind many faces of others, and passes over faces without a person', async () => {
    const gallery = await open('many');
    const crowd = Float32Array.from({ length: 300 * DIMENSION }, (_, i) => 0.001 * seeded(1, i)[0]!);
    await gallery.enrollFeatures('Near', crowd, { id: 'near' });
    await gallery.enrollFeatures('Gone', crowd.subarray(0, 50 * DIMENSION), { id: 'gone' });
    await gallery.enrollFeatures('Far', new Float32Array(DIMENSION).fill(1), { id: 'far' });
    await client.delete({ collection_name: 'many', filter: 'id == "gone"' }); // as if a process had ended while it removed the person
    const [{ matches }] = (await gallery.identifyFeatures(new Float32Array(DIMENSION), { top: 3 })) as [
      { matches: { person: { id: string }; score: number }[] },
    ];
    expect(matches.map(({ person }) => person.id)).toEqual(['near', 'far']);
    expect(matches[1]!.score).toBeCloseTo(4, 5); // the root of 16 ones
    await gallery.close();
  });

  it('finds people behind more faces of one person than Milvus gives in one answer', async () => {
    const flat = { ...recognizer, dimension: 2 };
    const gallery = await open('crowd', { recognizer: flat });
    await gallery.enrollFeatures('Near', seeded(2 * 16_500, 1));
    await gallery.enrollFeatures('Far', Float32Array.of(30, 40));
    await gallery.enrollFeatures('Farther', Float32Array.of(60, 80));
    const [decision] = await gallery.identifyFeatures(new Float32Array(2), { top: 3 });
    expect(decision!.matches.map(({ person, score }) => [person.name, Math.round(score)])).toEqual([
      ['Near', 0],
      ['Far', 50],
      ['Farther', 100],
    ]);
    expect(await gallery.remove('Near')).toBe(16_500);
    expect((await gallery.describe()).faces).toBe(2);
    await gallery.close();
  });

  it('keeps one person of a name that two processes take at the same moment, with the faces of both', async () => {
    const galleries = await Promise.all([open('names'), open('names'), open('names')]);
    for (let round = 0; round < 4; round++) {
      const made = await Promise.all(galleries.map((gallery, i) => gallery.enrollFeatures(`Person ${round}`, seeded(DIMENSION, round * 10 + i))));
      expect(new Set(made.map(({ person }) => person.id)).size).toBe(1);
      expect(made.filter(({ created }) => created)).toHaveLength(1);
    }
    expect(Object.values(await everybody(galleries[0]!))).toEqual(Array(4).fill(3));
    const renamed = await Promise.allSettled(galleries.map((gallery, i) => gallery.rename(`Person ${i}`, 'The same')));
    expect(renamed.filter(({ status }) => status === 'fulfilled').length).toBeLessThanOrEqual(1);
    expect((await galleries[0]!.list()).items).toHaveLength(4);
    await Promise.all(galleries.map((gallery) => gallery.close()));
  });

  it('embeds anew whoever is enrolled meanwhile, and tells those who have it open', async () => {
    const gallery = await open('anew');
    for (let i = 0; i < 20; i++) await gallery.enrollFeatures(`Person ${i}`, seeded(DIMENSION, i), { faceIds: [`face-${i}`] });
    const anew = (id: string) => seeded(8, 100 + Number(id.split('-')[1]));
    const next = {
      ...recognizer,
      version: '2',
      dimension: 8,
      faces: (image: unknown) => Promise.resolve([{ features: anew(image as string) }] as never),
    };
    let late = 20;
    const photo = async ({ id }: { id: string }) => {
      if (late < 25) await gallery.enrollFeatures(`Person ${late}`, seeded(DIMENSION, late), { faceIds: [`face-${late++}`] });
      return id;
    };
    expect(await Gallery.reembed(server.url('anew'), { recognizer: next, photo })).toEqual({ faces: 25, embedded: 25 });
    expect(await failure(gallery.identifyFeatures(seeded(DIMENSION, 3)))).toMatchObject({ code: 'ERR_MODEL_MISMATCH' });
    expect(await failure(gallery.enrollFeatures('Late', seeded(DIMENSION, 99)))).toMatchObject({ code: 'ERR_MODEL_MISMATCH' });
    await gallery.close();
    const after = await open('anew', { recognizer: next });
    const all = Float32Array.from(Array.from({ length: 25 }, (_, i) => [...anew(`face-${i}`)]).flat());
    expect((await after.identifyFeatures(all)).map(({ person }) => person?.name)).toEqual(Array.from({ length: 25 }, (_, i) => `Person ${i}`));
    expect(await after.person('Late')).toBeUndefined();
    await after.close();
  });

  it('takes hostile names and metadata as they are', async () => {
    const gallery = await open('hostile');
    const names = ['"', "'; drop --", '\\', '%', '_', '" or id != "', '\u202eabc', 'é𝄞', 'x'.repeat(1024), '.', '/', '!gallery.9'];
    const metadata = { 'k"\\ e.y': 'v"\\\u0000\u202e', ['__proto__']: { a: 1 }, '': 0, text: 'x'.repeat(60_000), list: [1, [2, { three: null }]] };
    for (const [i, name] of names.entries()) await gallery.enrollFeatures(name, seeded(DIMENSION, i), { metadata, id: `p${i}` });
    for (const [i, name] of names.entries()) expect(await gallery.person(name)).toMatchObject({ id: `p${i}`, name, metadata, faces: 1 });
    const sorted = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect((await gallery.list()).items.map(({ name }) => name)).toEqual(sorted);
    expect((await gallery.list({ filter: { 'k"\\ e.y': metadata['k"\\ e.y'], '': 0 } })).items).toHaveLength(names.length);
    expect((await gallery.list({ filter: { '': '0' } })).items).toHaveLength(0);
    expect(await gallery.identifyFeatures(seeded(DIMENSION, 2), { filter: { 'k"\\ e.y': ['no', metadata['k"\\ e.y']] } })).toMatchObject([
      { person: { name: '\\' } },
    ]);
    await gallery.close();
  });

  it('removes faces of enrolments that ended in the middle, once nobody can be at them any more', async () => {
    const gallery = await open('abandoned');
    await gallery.enrollFeatures('Ada', seeded(DIMENSION, 1), { id: 'ada' });
    await gallery.enrollFeatures('Old', seeded(DIMENSION, 2), { id: 'old' });
    await gallery.enrollFeatures('New', seeded(DIMENSION, 3), { id: 'new' });
    await gallery.close();
    const note = (key: string, people: string[], created: number) => ({
      key: `!note.${key}`,
      id: 'note',
      revision: 0,
      name: '',
      name_hash: '',
      metadata: { people },
      created,
      updated: created,
      unused: [0, 0],
    });
    await client.upsert({
      collection_name: 'abandoned',
      data: [note('1', ['ada', 'old'], Date.now() - 2 * 3600e3), note('2', ['new'], Date.now() - 60e3)],
    });
    await client.delete({ collection_name: 'abandoned', filter: 'id in ["old", "new"]' });
    const again = await open('abandoned');
    expect(await everybody(again)).toEqual({ ada: 1 });
    expect((await again.describe()).faces).toBe(2);
    await again.close();
    const { data } = await client.query({ collection_name: 'abandoned', filter: 'key > "!note." and key < "!note/"', output_fields: ['key'] });
    expect(data).toEqual([{ key: '!note.2' }]);
  });

  it('has every acknowledged person whole after kills of the process that enrols', async () => {
    const acknowledged: string[] = [];
    for (let round = 0; round < 4; round++) {
      const enrolling = spawn(process.execPath, [child, 'enroll', server.url('enrolling')], { stdio: ['ignore', 'pipe', 'inherit'] });
      const lines = createInterface({ input: enrolling.stdout });
      lines.on('line', (id) => acknowledged.push(id));
      await once(lines, 'line');
      setTimeout(() => enrolling.kill('SIGKILL'), 300 * Math.random());
      await once(lines, 'close');
    }
    const gallery = await open('enrolling');
    const found = await everybody(gallery);
    for (const id of acknowledged) expect(found[id], id).toBe(2);
    expect(new Set(Object.values(found))).toEqual(new Set([2]));
    await gallery.close();
  });

  it('is moved to and from a file, and goes on where the move was killed', { timeout: 300_000 }, async () => {
    const file = join(folder, 'moved.db');
    const people = 700;
    const source = await Gallery.open(file, { recognizer });
    const exported = join(folder, 'people.jsonl');
    for (let i = 0; i < people; i++)
      await source.enrollFeatures(`Person ${i}`, seeded(2 * DIMENSION, i), { id: `p${i}`, faceIds: [`p${i}-0`, `p${i}-1`] });
    await source.export(exported);
    await source.close();
    const contents = (path: string) => readFileSync(path, 'utf8').split('\n').slice(1, -1);

    const back = join(folder, 'back.db');
    for (const [from, to] of [
      [file, server.url('moved')],
      [server.url('moved'), back],
    ] as const) {
      const moving = spawn(process.execPath, [child, 'copy', from, to], { stdio: ['ignore', 'pipe', 'inherit'] });
      const lines = createInterface({ input: moving.stdout });
      lines.on('line', () => moving.kill('SIGKILL'));
      const [, signal] = (await once(moving, 'exit')) as [number, string];
      expect(signal).toBe('SIGKILL');
      const [a, b] = [await Gallery.open(from, { recognizer }), await Gallery.open(to, { recognizer })];
      const before = await b.describe();
      expect(before.people).toBeGreaterThan(0);
      expect(before.people).toBeLessThan(people);
      const progress: number[] = [];
      const moved = await a.copyTo(b, { onProgress: (done) => progress.push(done) });
      expect(moved).toMatchObject({ people, faces: 2 * people, added: { people: people - before.people, faces: 2 * people - before.faces } });
      expect(progress.at(-1)).toBe(people);
      expect(await a.copyTo(b)).toMatchObject({ people, added: { people: 0, faces: 0 } });
      const again = join(folder, 'again.jsonl');
      await b.export(again);
      expect(contents(again)).toEqual(contents(exported));
      await Promise.all([a.close(), b.close()]);
    }
  });

  it('keeps no process alive, and says nothing', () => {
    const run = execFileSync(process.execPath, [child, 'leave', server.url('left')], {
      timeout: 200_000,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NODE_ENV: 'debug' },
    });
    expect(run).toBe('');
  });

  it('says which package is missing', () => {
    const told = JSON.parse(execFileSync(process.execPath, [child, 'without', server.url('left')], { encoding: 'utf8' })) as {
      code: string;
      message: string;
    };
    expect(told).toMatchObject({ code: 'ERR_MILVUS_UNAVAILABLE', message: expect.stringContaining('npm install @zilliz/milvus2-sdk-node') });
  });

  describe('passes on', () => {
    let http2: Http2Server;
    let tls: TlsServer;
    const certificate = () => {
      const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
      execFileSync(
        'openssl',
        [
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:prime256v1',
          '-nodes',
          '-keyout',
          key,
          '-out',
          cert,
          '-days',
          '2',
          '-subj',
          '/CN=localhost',
          '-addext',
          'subjectAltName=DNS:localhost',
        ],
        { stdio: 'pipe' },
      );
      return { key, cert };
    };
    const port = (listening: { address(): AddressInfo | string | null }) => (listening.address() as AddressInfo).port;
    afterAll(() => {
      http2?.close();
      tls?.close();
    });

    it('the token, and says so where it is a wrong one', async () => {
      const upstream = connectHttp2(`http://127.0.0.1:${server.port}`);
      // milvus-lite knows no tokens: this stands before it and asks for one.
      http2 = createHttp2().on('stream', (stream, headers) => {
        if (headers['authorization'] !== Buffer.from('root:Milvus').toString('base64')) {
          stream.respond(
            { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '16', 'grpc-message': 'auth check failure' },
            { endStream: true },
          );
          return;
        }
        const asked = upstream.request({ ...headers, ':authority': `127.0.0.1:${server.port}` });
        asked.on('response', (answer) => stream.respond(answer, { waitForTrailers: true }));
        let trailers = {};
        asked.on('trailers', (last) => (trailers = last));
        stream.on('wantTrailers', () => stream.sendTrailers(trailers));
        stream.pipe(asked).pipe(stream);
      });
      http2.listen(0, '127.0.0.1');
      await once(http2, 'listening');
      const location = `127.0.0.1:${port(http2)}/tokens`;
      for (const [url, token] of [
        [`milvus://${location}`, 'root:Milvus'],
        [`milvus://root:Milvus@${location}`, undefined],
      ] as const) {
        const gallery = await Gallery.open(url, { recognizer, ...(token !== undefined && { token }) });
        expect((await gallery.list()).items).toEqual([]);
        await gallery.close();
      }
      for (const token of ['root:wrong', undefined]) {
        const denied = await failure(Gallery.open(`milvus://${location}`, { recognizer, ...(token !== undefined && { token }) }));
        expect(denied).toMatchObject({ code: 'ERR_GALLERY_DENIED', message: expect.stringContaining('auth check failure') });
        expect(denied!.message).not.toContain('wrong');
      }
      upstream.close();
    });

    it('certificates for TLS', async () => {
      const { key, cert } = certificate();
      tls = createTls({ key: readFileSync(key), cert: readFileSync(cert), ALPNProtocols: ['h2'] }, (socket) => {
        const behind = connect(server.port, '127.0.0.1');
        socket.pipe(behind).pipe(socket);
        for (const one of [socket, behind]) one.on('error', () => [socket, behind].forEach((each) => each.destroy()));
      }).listen(0, '127.0.0.1');
      await once(tls, 'listening');
      const location = `milvus://localhost:${port(tls)}/secret`;
      const gallery = await Gallery.open(location, { recognizer, tls: { caFile: cert } });
      await gallery.enrollFeatures('Ada', seeded(DIMENSION, 1));
      await gallery.close();
      // Nobody vouches for it among the system's authorities; without TLS it does not speak.
      for (const tlsOption of [true, false]) {
        expect(await failure(Gallery.open(location, { recognizer, tls: tlsOption, retryFor: 300 }))).toMatchObject({
          code: 'ERR_GALLERY_UNREACHABLE',
        });
      }
    });
  });
});
