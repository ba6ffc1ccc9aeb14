import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Audit } from '../packages/service/dist/store/audit.js';
import { openDatabase, type Db } from '../packages/service/dist/store/database.js';
import { EventStore } from '../packages/service/dist/store/events.js';
import { Tokens } from '../packages/service/dist/store/tokens.js';

let folder: string;
let db: Db;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'faiss-vision-store-'));
  db = openDatabase(join(folder, 'service.db'));
});
afterEach(() => {
  db.close();
  rmSync(folder, { recursive: true });
});

const ada = { id: 'p1', name: 'Ada' };

describe('events', () => {
  it('come back as they were kept, in their order', () => {
    const events = new EventStore(db);
    const time = new Date('2026-01-02T03:04:05.678Z');
    const first = events.add({ type: 'recognised', camera: 'door', time, track: 't', person: ada, distance: 0.4, score: 1 }, []);
    const second = events.add({ type: 'left', camera: 'yard', track: 't' }, [], Buffer.from('jpeg'));
    expect(first).toMatchObject({ type: 'recognised', camera: 'door', time: time.toISOString(), person: ada, snapshot: false });
    expect(second.sequence).toBe(first.sequence + 1);
    expect(events.list({ limit: 10 })).toEqual([first, second]);
    expect(events.list({ limit: 10, after: first.sequence })).toEqual([second]);
    expect(events.list({ limit: 1, newestFirst: true })).toEqual([second]);
    expect([events.list({ limit: 9, camera: 'door' }), events.list({ limit: 9, type: 'left' }), events.list({ limit: 9, person: 'p1' })]).toEqual([
      [first],
      [second],
      [first],
    ]);
    expect([events.find(first.id), events.snapshot(second.id)?.toString(), events.snapshot(first.id), events.last]).toEqual([
      first,
      'jpeg',
      undefined,
      second.sequence,
    ]);
  });

  it('are owed to each sink until delivered, each camera in its order', () => {
    const events = new EventStore(db);
    const [a, b, c] = ['door', 'yard', 'door'].map((camera) => events.add({ type: 'unknown', camera }, ['mqtt', 'webhook:x'])) as [
      never,
      never,
      never,
    ];
    expect(events.owed()).toEqual({ mqtt: 3, 'webhook:x': 3 });
    expect(events.owedCameras('mqtt').sort()).toEqual(['door', 'yard']);
    expect(events.nextOwed('mqtt', 'door')).toEqual(a);
    events.delivered('mqtt', (a as { sequence: number }).sequence);
    expect([events.nextOwed('mqtt', 'door'), events.nextOwed('mqtt', 'yard'), events.nextOwed('webhook:x', 'door')]).toEqual([c, b, a]);
    events.forgetSinks(['mqtt']);
    expect(events.owed()).toEqual({ mqtt: 2 });
    expect(events.prune(new Date(Date.now() + 1000))).toBe(3);
    expect([events.owed(), events.list({ limit: 9 })]).toEqual([{}, []]);
  });

  it('are written all or nothing with what rules intend', () => {
    const events = new EventStore(db);
    const broken = () => {
      throw new Error('disk');
    };
    expect(() => events.add({ type: 'unknown', camera: 'door' }, ['mqtt'], undefined, broken)).toThrow('disk');
    expect([events.list({ limit: 9 }), events.owed()]).toEqual([[], {}]);
  });

  it('that nobody was told the end of are found after a restart', () => {
    const events = new EventStore(db);
    events.add({ type: 'unknown', camera: 'door', track: 'a' }, []);
    events.add({ type: 'recognised', camera: 'door', track: 'a', person: ada, distance: 0.3 }, []);
    events.add({ type: 'recognised', camera: 'door', track: 'b', person: ada, distance: 0.3 }, []);
    events.add({ type: 'left', camera: 'door', track: 'b', person: ada, distance: 0.3 }, []);
    for (const type of ['near', 'camera-lost'] as const) events.add({ type, camera: 'yard' }, []);
    for (const type of ['near', 'clear', 'camera-lost', 'camera-back'] as const) events.add({ type, camera: 'door' }, []);
    expect(events.unfinished()).toMatchObject([
      { type: 'left', camera: 'door', track: 'a', person: ada },
      { type: 'clear', camera: 'yard' },
    ]);
    expect(events.lostCameras()).toEqual(['yard']);
    for (const event of events.unfinished()) events.add(event, []);
    expect(events.unfinished()).toEqual([]);
  });
});

describe('the audit', () => {
  it('lets an action begin once, and no second row stand for it', () => {
    const audit = new Audit(db);
    const event = new EventStore(db).add({ type: 'recognised', camera: 'door', person: ada }, []);
    const id = audit.intend(event, 'open', 0, 'mqtt');
    expect(() => audit.intend(event, 'open', 0, 'mqtt')).toThrow('UNIQUE');
    expect([audit.begin(id), audit.begin(id)]).toEqual([true, false]);
    audit.end(id, 'done', 'door/open');
    expect(audit.list({ limit: 9 })).toMatchObject([
      { event: event.id, rule: 'open', action: 0, kind: 'mqtt', person: 'p1', state: 'done', detail: 'door/open' },
    ]);
    expect([audit.count('open', new Date(0)), audit.count('open', new Date(Date.now() + 1000)), audit.count('other', new Date(0))]).toEqual([
      1, 0, 0,
    ]);
  });

  it('after a restart knows what was not begun, and says of the rest that it does not know', () => {
    const audit = new Audit(db);
    const events = new EventStore(db);
    const [begun, waiting] = [1, 2].map(() => audit.intend(events.add({ type: 'recognised', camera: 'door' }, []), 'open', 0, 'mqtt')) as [
      number,
      number,
    ];
    audit.begin(begun);
    expect(new Audit(db).recover().map(({ id }) => id)).toEqual([waiting]);
    expect(audit.list({ limit: 9 }).map(({ state }) => state)).toEqual(['pending', 'unknown']);
  });
});

describe('tokens', () => {
  it('are known by themselves alone, and nowhere written down', () => {
    const tokens = new Tokens(db);
    expect(tokens.any).toBe(false);
    const token = tokens.create('page', ['read', 'people']);
    expect(token).toMatch(/^fv_[0-9a-f]{12}_[\w-]{43}$/);
    expect(tokens.check(token)).toMatchObject({ name: 'page', scopes: ['read', 'people'] });
    const wrong = token.replace(/.$/, (last) => (last === 'A' ? 'E' : 'A'));
    for (const guess of [wrong, '', 'fv_', token.slice(0, -1), `${token}a`, token.replace(/^fv_./, 'fv_x')])
      expect(tokens.check(guess)).toBeUndefined();
    expect(() => tokens.create('page', ['read'])).toThrow('there is a token "page" already');
    db.pragma('wal_checkpoint(TRUNCATE)');
    const secret = token.split('_').slice(2).join('_');
    expect(readFileSync(join(folder, 'service.db')).includes(secret)).toBe(false);
    expect([tokens.remove('page'), tokens.remove('page'), tokens.check(token)]).toEqual([true, false, undefined]);
  });

  it('count wherever they are made, here or by another program', () => {
    const tokens = new Tokens(db);
    expect(tokens.any).toBe(false);
    tokens.create('page', ['read']);
    expect(tokens.any).toBe(true);
    tokens.remove('page');
    expect(tokens.any).toBe(false);
    const other = openDatabase(join(folder, 'service.db'));
    new Tokens(other).create('door', ['read']);
    other.close();
    expect(tokens.any).toBe(true);
  });

  it('end when their time is over', () => {
    const tokens = new Tokens(db);
    expect(tokens.check(tokens.create('old', ['read'], new Date(Date.now() - 1)))).toBeUndefined();
    expect(tokens.check(tokens.create('new', ['read'], new Date(Date.now() + 60_000)))).toMatchObject({ name: 'new' });
  });
});

it('a database of an earlier version is brought up to date, and no filter looks through all events', () => {
  const indexes = () => db.prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND name LIKE 'events\\_%' ESCAPE '\\' ORDER BY name").pluck().all();
  const now = indexes();
  new EventStore(db).add({ type: 'unknown', camera: 'a' }, []);
  db.exec('DROP INDEX events_type; DROP INDEX events_person; PRAGMA user_version = 1');
  db.close();
  db = openDatabase(join(folder, 'service.db'));
  expect([indexes(), new EventStore(db).last]).toEqual([now, 1]);
  const plans: string[] = [];
  const prepare = db.prepare.bind(db);
  db.prepare = ((sql: string) => {
    if (sql.includes('ORDER BY sequence')) plans.push(...(prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...Array((sql.match(/\?/g) ?? []).length).fill(1)) as { detail: string }[]).map(({ detail }) => detail));
    return prepare(sql);
  }) as typeof db.prepare;
  const store = new EventStore(db);
  for (const query of [{ type: 'near' as const }, { person: 'nobody' }, { camera: 'a' }]) store.list({ ...query, limit: 100, newestFirst: true });
  expect(plans).toHaveLength(3);
  for (const plan of plans) expect(plan).toMatch(/^SEARCH events USING INDEX events_/);
});

it('a database of a newer version is refused', () => {
  db.pragma('user_version = 99');
  expect(() => openDatabase(join(folder, 'service.db'))).toThrow(expect.objectContaining({ code: 'ERR_DATABASE_VERSION' }));
});
