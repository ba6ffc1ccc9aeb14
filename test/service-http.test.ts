import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { connect, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { deflateSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkListening } from '../packages/service/dist/http/auth.js';
import { addToken, listTokens, removeToken } from '../packages/service/dist/index.js';
import { openDatabase } from '../packages/service/dist/store/database.js';
import type { Tokens } from '../packages/service/dist/store/tokens.js';
import { freePort } from './support/broker.js';
import { closed } from './support/closing.js';
import { findProgram, until } from './support/wait.js';
import { photo, RunningService } from './support/service.js';

/** 10,000 in the long form. */
const CROWD = Number(process.env.FAISS_VISION_CROWD ?? 500);
const MOST_CONNECTIONS = 100;

let service: RunningService;
const tokens: Record<string, string> = {};
const bearer = (name: string) => ({ authorization: `Bearer ${tokens[name]}` });
const obama = () => readFileSync(photo('obama.jpg'));

/** All of the API, and the scope that a token needs for it. */
const OPERATIONS = `
post /v1/faces recognise
post /v1/embed recognise
post /v1/identify recognise
post /v1/depth recognise
post /v1/people/{id}/verify recognise
get /v1/people people
post /v1/people people
post /v1/people/from-camera people
get /v1/people/{id} people
patch /v1/people/{id} people
delete /v1/people/{id} people
delete /v1/people/{id}/faces/{face} people
get /v1/cameras read
get /v1/cameras/{id} read
get /v1/cameras/{id}/frame.jpg read
get /v1/cameras/{id}/depth.png read
get /v1/cameras/{id}/stream.mjpg read
get /v1/live read
get /v1/events read
get /v1/events/{id} read
get /v1/events/{id}/snapshot.jpg read
get /v1/events/stream read
get /v1/rules read
patch /v1/rules/{name} admin
get /v1/audit read
get /v1/status read
get /v1/session read
post /v1/session read
delete /v1/session -
get /v1/health -
get /v1/ready -
get /metrics metrics
`;

beforeAll(async () => {
  service = new RunningService({
    http: { port: 0, failuresPerMinute: 20, streams: 3, maxBody: 2 ** 20, maxPixels: 2 ** 22, origins: ['https://office.example'] },
    models: { depth: { weights: 'seeded' } },
    cameras: [{ id: 'photos', source: join(photo('obama.jpg'), '..'), repeat: true, fps: 2, faces: true }],
    decision: { frames: 1, unknownFrames: 1, leftAfter: 0.1 },
    rules: [{ name: 'photo', event: 'unknown', do: [{ photo: true }] }],
  });
  for (const scope of ['read', 'recognise', 'people', 'admin', 'metrics'] as const) tokens[scope] = await addToken(service.file, scope, [scope]);
  await service.start();
});
afterAll(() => service.close());

/** Sends bytes as they are; resolves with everything that came back until the other side closed, or the time was over. */
function raw(bytes: string | Buffer, { seconds = 60, port = Number(new URL(service.url).port) } = {}): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.setTimeout(seconds * 1000, () => socket.destroy());
    socket.on('data', (data) => (text += data)).on('error', () => {}).on('close', () => resolve(text));
    socket.write(bytes);
  });
}

const alive = async () => expect((await service.call('GET', '/v1/health')).body).toEqual({ status: 'ok' });

describe('the API', () => {
  it('says what is in a picture', async () => {
    const { status, body } = await service.call('POST', '/v1/faces?maxFaces=1', obama(), bearer('recognise'));
    expect([status, body.faces.length, body.faces[0].landmarks.length]).toEqual([200, 1, 5]);
    const embedded = (await service.call('POST', '/v1/embed?maxFaces=1', obama(), bearer('recognise'))).body;
    expect([embedded.model, embedded.dimension, embedded.faces[0].features.length]).toEqual(['resnet128', 128, 128]);
    expect((await service.call('POST', '/v1/depth', obama(), bearer('recognise'))).body).toMatchObject({ width: 160, height: 128, seeded: true });
    const png = await fetch(new URL('/v1/depth', service.url), {
      method: 'POST',
      body: new Uint8Array(obama()),
      headers: { ...bearer('recognise'), 'content-type': 'image/jpeg', accept: 'image/png' },
    });
    expect([png.headers.get('content-type'), Buffer.from(await png.arrayBuffer()).subarray(1, 4).toString()]).toEqual(['image/png', 'PNG']);
  });

  it('enrols, identifies, verifies, renames and forgets', async () => {
    const people = bearer('people');
    const enrolled = await service.call('POST', '/v1/people?name=Barack%20Obama', obama(), people);
    expect(enrolled).toMatchObject({ status: 201, body: { created: true, person: { name: 'Barack Obama', faces: 1 } } });
    const { id } = enrolled.body.person;
    const again = await service.call('POST', '/v1/people?name=Barack%20Obama', readFileSync(photo('obama2.jpg')), people);
    expect(again.body).toMatchObject({ created: false, person: { id, faces: 2 } });
    const identified = (await service.call('POST', '/v1/identify', readFileSync(photo('obama3.jpg')), bearer('recognise'))).body;
    expect(identified.faces[0]).toMatchObject({ known: true, matches: [{ person: { id, name: 'Barack Obama' } }] });
    const verify = (name: string) => service.call('POST', `/v1/people/${id}/verify`, readFileSync(photo(name)), bearer('recognise'));
    expect([(await verify('obama3.jpg')).body.same, (await verify('biden.jpg')).body.same]).toEqual([true, false]);
    expect((await service.call('PATCH', `/v1/people/${id}`, { name: 'B. Obama' }, people)).body).toMatchObject({ id, name: 'B. Obama', faces: 2 });
    expect((await service.call('GET', '/v1/people', undefined, people)).body.people.map(({ name }: { name: string }) => name)).toEqual(['B. Obama']);
    expect((await service.call('DELETE', `/v1/people/${id}/faces/${again.body.face.id}`, undefined, people)).status).toBe(204);
    expect((await service.call('GET', `/v1/people/${id}`, undefined, people)).body.faces).toHaveLength(1);
    expect((await service.call('DELETE', `/v1/people/${id}`, undefined, people)).status).toBe(204);
    expect(await service.call('DELETE', `/v1/people/${id}`, undefined, people)).toMatchObject({ status: 404, body: { code: 'ERR_PERSON_UNKNOWN' } });
  });

  it('says why a photo cannot be enrolled', async () => {
    const blurred = await (await import('sharp')).default(photo('obama2.jpg')).resize(300).blur(9).jpeg().toBuffer();
    const { status, body } = await service.call('POST', '/v1/people?name=X', blurred, bearer('people'));
    expect([status, body.code]).toEqual([422, expect.stringMatching(/^ERR_(FACE_QUALITY|NO_FACE)$/)]);
    if (body.code === 'ERR_FACE_QUALITY') expect(body.measured.sharpness).toBeGreaterThan(0);
    const wall = await (await import('sharp')).default({ create: { width: 200, height: 200, channels: 3, background: '#888' } }).png().toBuffer();
    expect(await service.call('POST', '/v1/people?name=X', wall, bearer('people'))).toMatchObject({ status: 422, body: { code: 'ERR_NO_FACE' } });
  });

  it('streams what cameras see, and their frames', async () => {
    await until('a frame was looked at', async () => (await service.call('GET', '/v1/cameras/photos', undefined, bearer('read'))).body.frames.analysed > 0);
    const stop = new AbortController();
    const live = await fetch(new URL('/v1/live', service.url), { headers: bearer('read'), signal: stop.signal });
    let text = '';
    for await (const chunk of live.body!) {
      text += Buffer.from(chunk as Uint8Array).toString();
      if (/event: live\ndata: .*"faces":\[\{"track"/.test(text)) break;
    }
    expect(text).toMatch(/^event: camera\ndata: \{"id":"photos"/);
    stop.abort();
    const frame = await fetch(new URL('/v1/cameras/photos/frame.jpg', service.url), { headers: bearer('read') });
    expect(Buffer.from(await frame.arrayBuffer()).readUInt16BE()).toBe(0xffd8);
    expect(await service.call('GET', '/v1/cameras/nowhere', undefined, bearer('read'))).toMatchObject({ status: 404, body: { code: 'ERR_CAMERA_UNKNOWN' } });
  });

  it('replays the events that somebody missed, once each', async () => {
    await until('there are events', async () => (await service.call('GET', '/v1/status', undefined, bearer('read'))).body.events >= 3);
    const stop = new AbortController();
    const stream = await fetch(new URL('/v1/events/stream', service.url), { headers: { ...bearer('read'), 'last-event-id': '1' }, signal: stop.signal });
    let text = '';
    for await (const chunk of stream.body!) {
      text += Buffer.from(chunk as Uint8Array).toString();
      if ((text.match(/^id: /gm) ?? []).length >= 2) break;
    }
    stop.abort();
    expect([...text.matchAll(/^id: (\d+)/gm)].slice(0, 2).map(([, id]) => id)).toEqual(['2', '3']);
  });

  it('goes on for whoever knows events of a database that is gone', async () => {
    const stop = new AbortController();
    const stream = await fetch(new URL('/v1/events/stream', service.url), { headers: { ...bearer('read'), 'last-event-id': '1000000' }, signal: stop.signal });
    let text = '';
    for await (const chunk of stream.body!) {
      text += Buffer.from(chunk as Uint8Array).toString();
      if (/^id: \d+$/m.test(text)) break;
    }
    stop.abort();
  });

  it('lets a browser keep its token where no script finds it', async () => {
    const response = await fetch(new URL('/v1/session', service.url), { method: 'POST', headers: bearer('read') });
    const cookie = response.headers.get('set-cookie')!;
    expect(cookie).toMatch(/; HttpOnly/);
    expect(cookie).toMatch(/; SameSite=Strict/);
    const read = (more = {}) => service.call('GET', '/v1/session', undefined, { cookie: cookie.split(';')[0]!, ...more });
    expect((await read()).body).toEqual({ name: 'read', scopes: ['read'], open: false });
  });

  it('describes itself in OpenAPI 3.1', async () => {
    const { body } = await service.call('GET', '/v1/openapi.json');
    expect(body.openapi).toBe('3.1.0');
    expect(Object.keys(body.paths)).toEqual(expect.arrayContaining(['/v1/identify', '/v1/people/{id}', '/v1/events/stream', '/metrics']));
    expect(body.paths['/v1/identify'].post.requestBody.content['image/jpeg'].schema).toMatchObject({ type: 'string', format: 'binary' });
    const operations = Object.entries<Record<string, { security?: { bearer: string[] }[]; responses: Record<string, { content?: Record<string, { schema: unknown }> }> }>>(body.paths);
    const scopes = operations.flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { security }]) => `${method} ${path} ${security === undefined ? '-' : security[0]!.bearer.join(' ')}`),
    );
    expect(scopes.sort()).toEqual(OPERATIONS.trim().split('\n').sort());
    for (const [path, methods] of operations) {
      for (const [method, { responses }] of Object.entries(methods)) {
        const [good, ...others] = Object.entries(responses).filter(([status]) => status.startsWith('2'));
        expect([path, method, others, Object.keys(responses).includes('4XX')]).toEqual([path, method, [], true]);
        if (good![0] !== '204') for (const { schema } of Object.values(good![1].content!)) expect(schema).toHaveProperty('type');
      }
    }
  });

  it('asks for a token wherever the document says so', async () => {
    for (const operation of OPERATIONS.trim().split('\n')) {
      const [method, path, scope] = operation.split(' ') as [string, string, string];
      for (const asked of method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]) {
        const { status } = await service.call(asked, path.replaceAll(/\{\w+\}/g, 'photos'));
        expect([asked, path, status === 401]).toEqual([asked, path, scope !== '-']);
      }
    }
  });

  it('tells Prometheus each camera’s share, and of nobody', async () => {
    const scrape = () => service.call('GET', '/metrics', undefined, bearer('metrics'));
    const { person } = (await service.call('POST', '/v1/people?name=Barack%20Obama', obama(), bearer('people'))).body;
    await until('somebody is recognised', async () => /^faiss_vision_events_total\{camera="photos",type="recognised"\} [1-9]/m.test((await scrape()).body));
    await service.call('DELETE', `/v1/people/${person.id}`, undefined, bearer('people'));
    const { body } = await scrape(); // what is read when asked has not added up
    expect(body).toMatch(/^faiss_vision_camera_share\{camera="photos"\} 1$/m);
    expect(body).toMatch(/^faiss_vision_camera_live\{camera="photos"\} 1$/m);
    expect(body).toMatch(/^faiss_vision_camera_frames_total\{camera="photos",fate="analysed"\} [1-9]\d*$/m);
    expect(body).toContain('# TYPE faiss_vision_camera_frames_total counter');
    expect(body).not.toContain('Obama');
  });
});

describe('who may do what', () => {
  it.each([
    ['POST', '/v1/identify', 'recognise'],
    ['GET', '/v1/people', 'people'],
    ['GET', '/v1/cameras', 'read'],
    ['GET', '/v1/audit', 'read'],
    ['PATCH', '/v1/rules/photo', 'admin'],
    ['GET', '/metrics', 'metrics'],
  ])('%s %s needs the scope %s', async (method, path, scope) => {
    const body = method === 'POST' ? obama() : method === 'PATCH' ? { enabled: true } : undefined;
    expect(await service.call(method, path, body)).toMatchObject({ status: 401, body: { code: 'ERR_UNAUTHORIZED' } });
    for (const name of Object.keys(tokens)) {
      const { status } = await service.call(method, path, body, bearer(name));
      expect([name, status]).toEqual([name, name === scope ? 200 : 403]);
    }
  });

  it('a rule that is switched off stays so', async () => {
    const off = await service.call('PATCH', '/v1/rules/photo', { enabled: false }, bearer('admin'));
    expect(off.body).toMatchObject({ name: 'photo', enabled: false, opensDoor: false, actions: [{ kind: 'photo' }] });
    expect((await service.call('GET', '/v1/rules', undefined, bearer('read'))).body.rules[0].enabled).toBe(false);
    await service.call('PATCH', '/v1/rules/photo', { enabled: true }, bearer('admin'));
  });

  it('pages of other origins get nothing, but for the one that is named', async () => {
    const from = (origin: string) => fetch(new URL('/v1/session', service.url), { method: 'POST', headers: { ...bearer('read'), origin } });
    expect((await from('https://evil.example')).status).toBe(403);
    expect((await from('null')).status).toBe(403);
    expect((await from(service.url)).status).toBe(200);
    const named = await from('https://office.example');
    expect([named.status, named.headers.get('access-control-allow-origin')]).toEqual([200, 'https://office.example']);
    // It may also read why it was refused; its browser asks beforehand whether it may send a token.
    const refused = await fetch(new URL('/v1/cameras', service.url), { headers: { origin: 'https://office.example' } });
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([401, 'https://office.example']);
    const asks = (origin: string) =>
      fetch(new URL('/v1/rules/photo', service.url), {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'PATCH', 'access-control-request-headers': 'authorization,content-type' },
      });
    const allowed = (await asks('https://office.example')).headers;
    expect([allowed.get('access-control-allow-origin'), allowed.get('access-control-allow-headers')]).toEqual(['https://office.example', 'authorization,content-type']);
    expect((await asks('https://evil.example')).headers.get('access-control-allow-origin')).toBeNull();
    const read = await fetch(new URL('/v1/health', service.url), { headers: { origin: 'https://evil.example' } });
    expect(read.headers.get('access-control-allow-origin')).toBeNull();
  });
});

describe('hostile requests are refused, and the service lives', () => {
  afterAll(alive);

  it('pictures that claim to be huge, are none, or are too long', async () => {
    const send = (body: Buffer, type = 'image/png', path = '/v1/faces', scope = 'recognise') =>
      service.call('POST', path, body, { ...bearer(scope), 'content-type': type });
    const memory = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${service.pid}/status`, 'utf8'))![1]);
    for (const path of ['/v1/faces', '/v1/embed', '/v1/identify', '/v1/depth', '/v1/people?name=X']) {
      const scope = path.startsWith('/v1/people') ? 'people' : 'recognise';
      for (const bomb of [pngBomb(30_000, 30_000), pngBomb(2049, 2049)]) {
        expect([path, await send(bomb, 'image/png', path, scope)]).toMatchObject([path, { status: 413, body: { code: 'ERR_IMAGE_TOO_LARGE' } }]);
      }
    }
    expect(await send(pngBomb(65_000, 65))).toMatchObject({ status: 413 });
    for (const junk of ['no picture', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', 'GIF89a', '\x89PNG\r\n\x1a\n']) {
      expect(await send(Buffer.from(junk, 'latin1'))).toMatchObject({ status: 422, body: { code: 'ERR_IMAGE_DECODE' } });
    }
    expect(await send(obama().subarray(0, 5000), 'image/jpeg')).toMatchObject({ status: 422, body: { code: 'ERR_IMAGE_DECODE' } });
    expect(await send(Buffer.alloc(0))).toMatchObject({ status: expect.any(Number), body: { code: expect.stringMatching(/^ERR_/) } });
    expect(await send(Buffer.alloc(2 ** 20 + 1))).toMatchObject({ status: 413, body: { code: 'ERR_CTP_BODY_TOO_LARGE' } });
    expect(await send(obama(), 'text/html')).toMatchObject({ status: 415 });
    const now = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${service.pid}/status`, 'utf8'))![1]);
    expect(now - memory).toBeLessThan(500_000); // kB; one bomb would be 2.7 GB
  });

  it('climbed paths', async () => {
    for (const path of ['/../../etc/passwd', '/..%2f..%2fetc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '/v1/../../etc/passwd', '/v1/cameras/..%2f..%2fetc%2fpasswd/frame.jpg', '/%00', '/v1/events/%2e%2e']) {
      const answer = await raw(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${tokens.read}\r\nConnection: close\r\n\r\n`);
      expect([path, answer.slice(0, 12)]).toEqual([path, expect.stringMatching(/^HTTP\/1\.1 40[04]$/)]);
      expect(answer).not.toContain('root:');
    }
  });

  it('split headers and smuggled requests', async () => {
    const head = `Host: localhost\r\nAuthorization: Bearer ${tokens.recognise}\r\n`;
    const smuggled = await raw(`POST /v1/faces HTTP/1.1\r\n${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(smuggled).toMatch(/^HTTP\/1\.1 400/);
    expect(smuggled).not.toContain('"ok"');
    expect(await raw(`GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX-A: b\rX-C: d\r\n\r\n`)).toMatch(/^HTTP\/1\.1 400/);
    expect(await raw(`GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431/);
    const injected = await raw(`GET /v1/people?cursor=%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${tokens.people}\r\nConnection: close\r\n\r\n`);
    expect(injected.toLowerCase()).not.toContain('\nset-cookie');
    const { status } = await service.call('PATCH', '/v1/rules/photo', { enabled: true, __proto__: { a: 1 }, constructor: { prototype: {} } }, bearer('admin'));
    expect(status).toBe(400);
  });

  describe('of clients that take up room', () => {
    // A service of their own: on a busy machine everybody may be too slow for this one.
    let strict: RunningService;
    let port: number;
    beforeAll(async () => {
      strict = await new RunningService({ http: { port: 0, connections: MOST_CONNECTIONS, slowest: 3 } }).start();
      port = Number(new URL(strict.url).port);
    });
    afterAll(() => strict.close());

    it('clients that send too slowly', async () => {
      const answers = await Promise.all([
        raw('GET /v1/health HTTP/1.1\r\nHost: loc', { port }),
        raw('POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 100\r\n\r\nabc', { port }),
      ]);
      for (const answer of answers) expect(answer).toMatch(/^HTTP\/1\.1 408/);
    });

    it(`${CROWD} connections`, async () => {
      const sockets: Socket[] = [];
      let refused = 0;
      for (let i = 0; i < CROWD; i++) {
        const socket = connect(port, '127.0.0.1');
        // 503: too many. 408: it had a place and asked for nothing.
        socket.on('data', (data) => (refused += /^HTTP\/1\.1 (503|408)/.test(data.toString()) ? 1 : 0)).on('error', () => {});
        sockets.push(socket);
        if (i % 200 === 199) await new Promise((resolve) => setTimeout(resolve, 20));
      }
      // Some may wait in the system's own queue, which is shorter.
      await until('they are refused', () => refused >= 0.9 * CROWD);
      for (const socket of sockets) socket.destroy();
      await until('there is room again', async () => (await strict.call('GET', '/v1/health').catch(() => ({ status: 0 }))).status === 200);
    });
  });

  it('streams beyond their number, and readers that do not read', async () => {
    const sockets = Array.from({ length: 3 }, () => connect(Number(new URL(service.url).port), '127.0.0.1'));
    for (const socket of sockets) {
      socket.write(`GET /v1/cameras/photos/stream.mjpg HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${tokens.read}\r\n\r\n`);
      const [head] = (await once(socket, 'data')) as [Buffer];
      socket.pause(); // from here on it reads nothing
      expect(head.toString()).toMatch(/^HTTP\/1\.1 200/);
    }
    expect(await service.call('GET', '/v1/live', undefined, bearer('read'))).toMatchObject({ status: 503, body: { code: 'ERR_TOO_MANY' } });
    for (const socket of sockets) socket.destroy();
  });

  it('tokens that are guessed', async () => {
    const guess = (token: string) => service.call('GET', '/v1/cameras', undefined, { authorization: `Bearer ${token}` });
    const answers: number[] = [];
    for (let i = 0; i < 25; i++) answers.push((await guess(`fv_${'0'.repeat(12)}_${String(i).padEnd(43, 'A')}`)).status);
    expect(answers).toEqual([...Array(20).fill(401), ...Array(5).fill(429)]);
    // From here on nobody at this address is heard, until the minute is over.
    expect((await service.call('GET', '/v1/cameras', undefined, bearer('read'))).status).toBe(429);
  });
});

describe('readiness', () => {
  it('goes by the database, and not by cameras or the broker', async () => {
    const away = await freePort();
    const alone = await new RunningService({ mqtt: { url: `mqtt://127.0.0.1:${away}` }, cameras: [{ id: 'gone', source: `http://127.0.0.1:${away}/` }] }).start();
    const other = openDatabase(join(alone.folder, 'data/service.db'));
    try {
      const ready = async () => {
        const { status, body } = await alone.call('GET', '/v1/ready');
        return [status, body.ready, body.checks];
      };
      const good = [200, true, { database: { ok: true }, models: { ok: true } }];
      await until('the camera is lost, and told of', async () => (await alone.events()).some(({ type }) => type === 'camera-lost'));
      expect(await ready()).toEqual(good);
      other.exec('BEGIN IMMEDIATE');
      await until('it is not ready', async () => (await alone.call('GET', '/v1/ready')).status === 503);
      expect(await ready()).toEqual([503, false, { database: { ok: false, detail: 'it cannot be written: database is locked' }, models: { ok: true } }]);
      expect((await alone.call('GET', '/v1/health')).status).toBe(200);
      other.exec('COMMIT');
      await until('it is ready again', async () => (await alone.call('GET', '/v1/ready')).status === 200);
      expect(await ready()).toEqual(good);
    } finally {
      other.close();
      await alone.close();
    }
  });
});

describe('behind a proxy', () => {
  const guess = async (at: RunningService, from: string) =>
    (await at.call('GET', '/v1/cameras', undefined, { authorization: `Bearer fv_${'0'.repeat(12)}_${'A'.repeat(43)}`, 'x-forwarded-for': from })).status;

  it('that is trusted each client is an address of its own, which it cannot choose', async () => {
    const proxied = closed(new RunningService({ http: { port: 0, trustedProxies: ['127.0.0.1', '10.0.0.0/8'], failuresPerMinute: 2, requestsPerMinute: 9 } }));
    const token = await addToken(proxied.file, 'only', ['read']);
    await proxied.start();
    const answers: [string, number][] = [
      ['203.0.113.1', 401],
      ['203.0.113.1', 401],
      ['203.0.113.1', 429],
      ['203.0.113.2', 401],
      ['203.0.113.1, 203.0.113.3', 401], // the client's own words, before the proxy's
      ['203.0.113.9, 203.0.113.1', 429],
      ['203.0.113.1, 10.1.2.3', 429], // through two proxies
    ];
    for (const [from, status] of answers) expect([from, await guess(proxied, from)]).toEqual([from, status]);
    const ask = (from: string, more = {}) => proxied.call('GET', '/v1/session', undefined, { authorization: `Bearer ${token}`, 'x-forwarded-for': from, ...more });
    const statuses: number[] = [];
    for (let i = 0; i < 10; i++) statuses.push((await ask('198.51.100.1')).status);
    expect([statuses, (await ask('198.51.100.2')).status]).toEqual([[...Array(9).fill(200), 429], 200]);
    // A page behind the proxy is of the address that a browser knows, and its cookie is for TLS where that is spoken there.
    const keep = (host: string) =>
      fetch(new URL('/v1/session', proxied.url), {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, origin: 'https://door.example', 'x-forwarded-host': host, 'x-forwarded-proto': 'https' },
      });
    expect((await keep('other.example')).status).toBe(403);
    expect((await keep('door.example')).headers.get('set-cookie')).toMatch(/; Secure(;|$)/);
  });

  it.each([[[]], [['10.0.0.0/8']]])('that is not among %j nothing that it forwards counts', async (trustedProxies) => {
    const direct = closed(new RunningService({ http: { port: 0, trustedProxies, failuresPerMinute: 2 } }));
    const token = await addToken(direct.file, 'only', ['read']);
    await direct.start();
    const answers: number[] = [];
    const headers = { 'x-forwarded-for': '10.0.0.1', 'x-forwarded-host': 'door.example', 'x-forwarded-proto': 'https' };
    const keep = (origin: string) => fetch(new URL('/v1/session', direct.url), { method: 'POST', headers: { authorization: `Bearer ${token}`, origin, ...headers } });
    expect((await keep('https://door.example')).status).toBe(403);
    expect((await keep(direct.url.replace(/\/$/, ''))).headers.get('set-cookie')).not.toContain('Secure');
    for (const from of ['203.0.113.1', '203.0.113.2', '203.0.113.3', '10.0.0.1']) answers.push(await guess(direct, from));
    expect(answers).toEqual([401, 401, 429, 429]);
  });

  it('it needs a token, on loopback too', async () => {
    expect(() => checkListening({ host: '127.0.0.1', trustedProxies: ['127.0.0.1'] }, { tokens: { any: false } as Tokens })).toThrow('through http.trustedProxies');
    const proxied = closed(new RunningService({ http: { port: 0, trustedProxies: ['127.0.0.1'] } }));
    await addToken(proxied.file, 'only', ['read']);
    await proxied.start();
    await removeToken(proxied.file, 'only');
    for (const more of [{}, { 'x-forwarded-host': 'localhost' }]) expect((await proxied.call('GET', '/v1/cameras', undefined, more)).status).toBe(401);
  });
});

describe('listening', () => {
  const ended = (config: object) => closed(new RunningService(config)).start().then(
    () => 'started',
    (error: Error) => error.message,
  );

  it('beyond loopback needs a token', async () => {
    expect(await ended({ http: { host: '0.0.0.0', port: 0 } })).toContain('ERR_NO_TOKEN');
    const refused = (host: string, any = false) => {
      try {
        checkListening({ host, trustedProxies: [] }, { tokens: { any } as Tokens });
        return false;
      } catch (error) {
        return (error as { code: string }).code === 'ERR_NO_TOKEN';
      }
    };
    const reached = ['0.0.0.0', '0', '::', '[::]', '::0', '192.168.1.5', 'fe80::1', '::ffff:0.0.0.0', hostname(), 'localhost.example.org', '127.example.org', '127.0.0.1.example.org'];
    expect(reached.filter((host) => !refused(host))).toEqual([]);
    expect(reached.filter((host) => refused(host, true))).toEqual([]);
    expect(['127.0.0.1', '127.1.2.3', '::1', '[::1]', 'localhost'].filter((host) => refused(host))).toEqual([]);
  });

  it('beyond loopback nobody comes in once the last token is gone', async () => {
    const open = new RunningService({ http: { host: '0.0.0.0', port: 0 } });
    const token = await addToken(open.file, 'only', ['read']);
    await open.start();
    try {
      const ask = (headers = {}) => open.call('GET', '/v1/cameras', undefined, { host: 'localhost', ...headers });
      expect((await ask({ authorization: `Bearer ${token}` })).status).toBe(200);
      await removeToken(open.file, 'only');
      expect([(await ask()).status, (await ask({ authorization: `Bearer ${token}` })).status]).toEqual([401, 401]);
      expect((await open.call('GET', '/v1/health')).status).toBe(200);
    } finally {
      await open.close();
    }
  });

  it('with the data or the port of another service ends, and disturbs it not; one that was killed is in nobody’s way', async () => {
    const data = join(service.folder, 'shared');
    const port = await freePort();
    const config = {
      cameras: [{ id: 'photos', source: join(photo('obama.jpg'), '..'), repeat: true, fps: 2 }],
      decision: { frames: 1, unknownFrames: 1, leftAfter: 60 },
    };
    const running = closed(await new RunningService({ ...config, data, http: { port } }).start());
    await until('somebody is there', async () => (await running.events()).length > 0);
    const inUse = `the data folder "${data}" is in use by another service: process ${running.pid} on ${hostname()}`;
    const refused = await ended({ ...config, data });
    expect([refused, refused]).toEqual([expect.stringContaining('ERR_DATA_IN_USE'), expect.stringContaining(inUse)]);
    expect(await ended({ ...config, http: { port } })).toContain('EADDRINUSE');
    expect(await listTokens(running.file)).toEqual([]); // what is no service may read and write the database
    expect((await running.events()).filter(({ reason }) => reason === 'the service was started again')).toEqual([]);
    await running.stop('SIGKILL');
    const next = closed(await new RunningService({ ...config, data }).start());
    await until('the next one goes on', async () => (await next.events()).some(({ reason }) => reason === 'the service was started again'));
  });

  it('ends gracefully though clients hang in the middle of a request or read nothing', async () => {
    const busy = await new RunningService({ http: { port: 0, slowest: 600 }, cameras: [{ id: 'photos', source: join(photo('obama.jpg'), '..'), repeat: true, fps: 20 }] }).start();
    const port = Number(new URL(busy.url).port);
    const sockets = ['GET /v1/health HTTP/1.1\r\nHost: loc', 'POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 9\r\n\r\nabc', 'GET /v1/cameras/photos/stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n'].map((text) => {
      const socket = connect(port, '127.0.0.1').on('error', () => {}).pause();
      socket.write(text);
      return socket;
    });
    try {
      await until('frames were looked at', async () => (await busy.call('GET', '/v1/cameras/photos')).body.frames.analysed > 5);
      const end = await Promise.race([busy.stop(), sleep(60_000, 'it does not end', { ref: false })]);
      expect([end, busy.said]).toEqual([0, expect.stringContaining('the service stopped')]);
    } finally {
      for (const socket of sockets) socket.destroy();
      await busy.close();
    }
  });

  it('hears an address only so often in a minute', async () => {
    const slow = await new RunningService({ http: { port: 0, requestsPerMinute: 5 } }).start();
    try {
      const answers = [];
      for (let i = 0; i < 7; i++) answers.push(await fetch(new URL('/v1/cameras', slow.url)));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 429, 429]);
      expect(Number(answers.at(-1)!.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(await answers.at(-1)!.json()).toMatchObject({ code: 'ERR_TOO_MANY' });
    } finally {
      await slow.close();
    }
  });

  it('without tokens answers to this machine’s own names alone', async () => {
    const open = await new RunningService({}).start();
    try {
      expect((await open.call('GET', '/v1/cameras')).body).toEqual({ cameras: [] });
      expect(imageHealth(open)).toBe(0);
      const port = Number(new URL(open.url).port);
      expect(await raw('GET /v1/cameras HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n', { port })).toMatch(/^HTTP\/1\.1 403/);
    } finally {
      await open.close();
    }
  });

  it.skipIf(findProgram('openssl') === undefined)('with TLS (with openssl)', async () => {
    const secure = new RunningService({ http: { port: 0, tls: { cert: 'cert.pem', key: 'key.pem' } } });
    const file = (name: string) => join(secure.folder, name);
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=localhost', '-keyout', file('key.pem'), '-out', file('cert.pem')], { stdio: 'ignore' });
    await secure.start();
    try {
      const text = await new Promise<string>((resolve, reject) => {
        httpsRequest(new URL('/v1/health', secure.url), { ca: readFileSync(file('cert.pem')), checkServerIdentity: () => undefined }, (response) => {
          response.setEncoding('utf8').on('data', resolve);
        }).on('error', reject).end();
      });
      expect(JSON.parse(text)).toEqual({ status: 'ok' });
      const cookies = await new Promise((resolve, reject) => {
        httpsRequest(new URL('/v1/session', secure.url), { method: 'DELETE', rejectUnauthorized: false }, ({ headers }) => resolve(headers['set-cookie'])).on('error', reject).end();
      });
      expect(cookies).toEqual([expect.stringMatching(/; Secure(;|$)/)]);
      expect(imageHealth(secure)).toBe(0);
      await secure.stop();
      expect(imageHealth(secure)).toBe(1);
    } finally {
      await secure.close();
    }
  });
});

/** What the image's own look at the service's health says. */
function imageHealth({ url }: RunningService): number | null {
  const dockerfile = readFileSync(join(__dirname, '../packages/service/deploy/Dockerfile'), 'utf8');
  const [, json] = /^HEALTHCHECK .*?CMD (.*)$/m.exec(dockerfile)!;
  const [program, ...args] = JSON.parse(json!.replace(':8080', `:${new URL(url).port}`)) as [string, ...string[]];
  return spawnSync(program, args).status;
}

/** A PNG file whose header claims so many pixels; there is nothing behind it. */
function pngBomb(width: number, height: number): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), chunk('IDAT', deflateSync(Buffer.alloc(1000))), chunk('IEND', Buffer.alloc(0))]);
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

function crc32(bytes: Buffer): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

// The program of the PyPI package schemathesis, in whatever environment it is installed: FAISS_VISION_SCHEMATHESIS=venv/bin/schemathesis
describe.skipIf(process.env.FAISS_VISION_SCHEMATHESIS === undefined)('schemathesis (where FAISS_VISION_SCHEMATHESIS names it)', () => {
  it('finds nothing that is not as the OpenAPI document says', { timeout: 600_000 }, async () => {
    const checked = new RunningService({
      http: { port: 0, requestsPerMinute: 1e6, failuresPerMinute: 1e6, connections: 2000 },
      models: { depth: { weights: 'seeded' } },
      cameras: [{ id: 'photos', source: join(photo('obama.jpg'), '..'), repeat: true, fps: 1 }],
      decision: { frames: 1, unknownFrames: 1, leftAfter: 0.1 },
      rules: [{ name: 'photo', event: 'unknown', do: [{ photo: true }] }],
    });
    const token = await addToken(checked.file, 'all', ['read', 'recognise', 'people', 'admin', 'metrics']);
    await checked.start();
    try {
      // Streams do not end, so they are tested above.
      const streams = ['/v1/live', '/v1/events/stream', '/v1/cameras/{id}/stream.mjpg'].flatMap((path) => ['--exclude-path', path]);
      const args = ['--config-file', join(__dirname, 'support/schemathesis.toml'), 'run', new URL('/v1/openapi.json', checked.url).href];
      const more = ['-H', `Authorization: Bearer ${token}`, '--max-examples', '20', '--max-time', '120', '--no-color', ...streams];
      const { status, stdout } = spawnSync(process.env.FAISS_VISION_SCHEMATHESIS!, [...args, ...more], { encoding: 'utf8', cwd: checked.folder });
      expect(stdout.slice(-3000)).toMatch(/(\d+) generated, \1 passed/);
      expect(status).toBe(0);
    } finally {
      await checked.close();
    }
  });
});
