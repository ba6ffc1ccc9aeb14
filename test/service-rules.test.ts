import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { RuleConfig } from '../packages/service/dist/config/schema.js';
import { act } from '../packages/service/dist/actions.js';
import { Webhook } from '../packages/service/dist/delivery/webhook.js';
import { Outbox, type Sink } from '../packages/service/dist/delivery/outbox.js';
import { Hub } from '../packages/service/dist/hub.js';
import { Metrics } from '../packages/service/dist/metrics.js';
import { Recorder } from '../packages/service/dist/recorder.js';
import { matches } from '../packages/service/dist/rules/match.js';
import { Rules, type Act } from '../packages/service/dist/rules/rules.js';
import { Audit } from '../packages/service/dist/store/audit.js';
import { openDatabase, type Db } from '../packages/service/dist/store/database.js';
import { EventStore, type NewEvent, type ServiceEvent } from '../packages/service/dist/store/events.js';
import { afterwards } from './support/closing.js';
import { until } from './support/wait.js';

let folder: string;
let db: Db;
let events: EventStore;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'faiss-vision-rules-'));
  db = openDatabase(join(folder, 'service.db'));
  events = new EventStore(db);
});
afterEach(() => {
  vi.useRealTimers();
  db.close();
  rmSync(folder, { recursive: true });
});

const rule = (more: Partial<RuleConfig> = {}): RuleConfig => ({ name: 'open', event: 'recognised', people: ['Ada'], validFor: 600, enabled: true, do: [{ mqtt: { topic: 'door' } }], ...more });
const ada: NewEvent = { type: 'recognised', camera: 'door', person: { id: 'a', name: 'Ada' }, distance: 0.4 };

describe('a rule is about', () => {
  const at = (text: string) => new Date(`2026-03-0${text}`); // 2026-03-02 is a Monday
  it.each<[Partial<RuleConfig>, NewEvent, string, boolean]>([
    [{}, ada, '2T12:00', true],
    [{}, { ...ada, person: { id: 'b', name: 'Bob' } }, '2T12:00', false],
    [{ people: 'everyone' }, { ...ada, person: { id: 'b', name: 'Bob' } }, '2T12:00', true],
    [{}, { type: 'unknown', camera: 'door' }, '2T12:00', false],
    [{ event: 'unknown', people: undefined as never }, { type: 'unknown', camera: 'door' }, '2T12:00', true],
    [{ cameras: ['yard'] }, ada, '2T12:00', false],
    [{ maxDistance: 0.4 }, ada, '2T12:00', true],
    [{ maxDistance: 0.39 }, ada, '2T12:00', false],
    [{ hours: '07:00-19:00' }, ada, '2T06:59', false],
    [{ hours: '07:00-19:00' }, ada, '2T07:00', true],
    [{ hours: '07:00-19:00' }, ada, '2T19:00', false],
    [{ hours: '22:00-06:00' }, ada, '2T23:00', true],
    [{ hours: '22:00-06:00' }, ada, '2T12:00', false],
    [{ hours: '22:00-06:00', days: ['mon'] }, ada, '3T05:59', true], // Monday's night, on Tuesday
    [{ hours: '22:00-06:00', days: ['mon'] }, ada, '2T05:59', false],
    [{ days: ['tue'] }, ada, '2T12:00', false],
  ])('%j: %j at %s: %s', (more, event, time, expected) => {
    expect(matches(rule(more), event, at(time))).toBe(expected);
  });
});

it.each([
  ['Asia/Tokyo', '2026-03-01T22:30Z', true], // 7:30 on Monday
  ['America/New_York', '2026-03-02T22:30Z', true], // 17:30
  ['America/New_York', '2026-03-02T11:59Z', false], // 6:59
  ['Europe/Berlin', '2026-03-29T05:30Z', true], // 7:30, on the day on which the clock goes forward
  ['Europe/Berlin', '2026-03-28T05:30Z', false], // 6:30 on the day before
  ['Europe/Berlin', '2026-10-25T06:30Z', true], // 7:30 on the day on which it goes back
])('the hours of a rule are those of the place, %s at %s', (zone, time, expected) => {
  const before = process.env.TZ;
  process.env.TZ = zone;
  try {
    expect(matches(rule({ hours: '07:00-19:00' }), ada, new Date(time))).toBe(expected);
  } finally {
    if (before === undefined) delete process.env.TZ;
    else process.env.TZ = before;
  }
});

describe('actions', () => {
  function setUp(rules: RuleConfig[], act: Act) {
    const audit = new Audit(db);
    const ends: string[] = [];
    const onEnd = ({ rule, state }: { rule: string; state: string }) => ends.push(`${rule} ${state}`);
    const onFailure = (rule: string, _: ServiceEvent, error: unknown) => ends.push(`${rule} ${(error as Error).message}`);
    const make = () => new Rules({ db, rules, audit, act, find: (id) => events.find(id), onEnd, onFailure });
    let working = make();
    const tell = (event: NewEvent): ServiceEvent => {
      let intents: ReturnType<Rules['intend']> = [];
      const kept = events.add(event, [], undefined, (whole) => (intents = working.intend(whole)));
      working.run(intents);
      return kept;
    };
    return { tell, ends, audit, rules: () => working, restart: () => (working = make()) };
  }

  it('run once for an event, each of the rule’s, and their end is written down', async () => {
    const done: string[] = [];
    const { tell, ends, audit, rules } = setUp([rule({ do: [{ mqtt: { topic: 'door' } }, { photo: true }] })], async (action) => `${done.push(JSON.stringify(action))}`);
    tell(ada);
    tell({ type: 'left', camera: 'door', person: { id: 'a', name: 'Ada' } });
    await rules().close();
    expect([done, ends]).toEqual([['{"mqtt":{"topic":"door"}}', '{"photo":true}'], ['open done', 'open done']]);
    expect(audit.list({ limit: 9 }).map(({ kind, state }) => [kind, state])).toEqual([['photo', 'done'], ['mqtt', 'done']]);
  });

  it('at most so often in so long, over restarts too', async () => {
    vi.useFakeTimers({ toFake: ['Date'] }); // writing five events takes a busy disk as long as it likes
    let done = 0;
    const { tell, rules, restart } = setUp([rule({ atMost: { times: 2, seconds: 60 } })], async () => `${done++}`);
    for (let i = 0; i < 5; i++) tell(ada);
    restart();
    tell(ada);
    await rules().close();
    expect(done).toBe(2);
    vi.setSystemTime(Date.now() + 59_000);
    tell(ada);
    await rules().close();
    expect(done).toBe(2);
    vi.setSystemTime(Date.now() + 2000);
    tell(ada);
    await rules().close();
    expect(done).toBe(3);
  });

  it('that fail, or of which nobody knows, are not repeated', async () => {
    let tries = 0;
    const { tell, audit, rules, restart } = setUp([rule()], async () => {
      throw Object.assign(new Error('broken'), { unknown: tries++ === 0 });
    });
    tell(ada);
    tell(ada);
    await rules().close();
    restart().recover();
    await rules().close();
    expect([tries, audit.list({ limit: 9 }).map(({ state, detail }) => [state, detail])]).toEqual([2, [['failed', 'broken'], ['unknown', 'broken']]]);
  });

  it('do not begin when their time is over', async () => {
    const { tell, ends, rules } = setUp([rule({ validFor: 1 })], async () => 'opened');
    tell({ ...ada, time: new Date(Date.now() - 1500) });
    await rules().close();
    expect(ends).toEqual(['open expired']);
  });

  it('that a killed service had not begun begin after it; those that had begun do not', async () => {
    const hanging = setUp([rule()], () => new Promise<never>(() => {}));
    const begun = hanging.tell(ada);
    const waiting = events.add(ada, [], undefined, (event) => void hanging.audit.intend(event, 'open', 0, 'mqtt'));
    const changed = events.add(ada, [], undefined, (event) => void hanging.audit.intend(event, 'gone', 0, 'mqtt'));
    const ran: string[] = [];
    const after = setUp([rule()], async (_, event) => `${ran.push(event.id)}`);
    after.rules().recover();
    await after.rules().close();
    expect(ran).toEqual([waiting.id]);
    const states = Object.fromEntries(after.audit.list({ limit: 9 }).map(({ event, state }) => [event, state]));
    expect(states).toEqual({ [begun.id]: 'unknown', [waiting.id]: 'done', [changed.id]: 'expired' });
  });

  it('do not begin where that cannot be written down, and a missing end is told', async () => {
    let done = 0;
    const { tell, ends, audit, rules, restart } = setUp([rule()], async () => {
      db.pragma('query_only = ON');
      return `${done++}`;
    });
    const waiting = events.add(ada, [], undefined, (event) => void audit.intend(event, 'open', 0, 'mqtt'));
    db.pragma('query_only = ON');
    rules().run([{ id: audit.list({ limit: 1 })[0]!.id, rule: rule(), action: 0, event: waiting }]);
    await rules().close();
    expect([done, ends]).toEqual([0, ['open attempt to write a readonly database']]);
    db.pragma('query_only = OFF');
    tell(ada); // which the database stops taking while it is done
    await rules().close();
    expect([done, ends.length]).toEqual([1, 2]);
    db.pragma('query_only = OFF');
    audit.end(audit.list({ limit: 9 }).find(({ state }) => state === 'pending')!.id, 'expired');
    restart().recover();
    expect(audit.list({ limit: 9 }).map(({ state }) => state)).toEqual(['unknown', 'expired']);
  });

  it('of a rule that is off do not run, over restarts too', async () => {
    const { tell, ends, rules, restart } = setUp([rule()], async () => 'done');
    expect([rules().enable('open', false), rules().enable('nothing', false)]).toEqual([true, false]);
    restart();
    tell(ada);
    rules().enable('open', true);
    tell(ada);
    await rules().close();
    expect(ends).toEqual(['open done']);
  });
});

it('a webhook action is signed, and of one without an answer nobody knows', async () => {
  let answer = 200;
  const asked: string[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => (text += chunk)).on('end', () => {
      const { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': signature } = request.headers;
      const right = `v1,${createHmac('sha256', '0123456789abcdef').update(`${id}.${time}.${text}`).digest('base64')}`;
      asked.push(`${id} ${signature === right} ${Object.keys(JSON.parse(text))}`);
      if (answer > 0) response.writeHead(answer, { location: '/elsewhere' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const event = events.add(ada, []);
  const result = (timeout = 60) => {
    const webhooks = [new Webhook({ name: 'lock', url, secret: '0123456789abcdef', rulesOnly: true, timeout })];
    return act({ webhook: 'lock' }, event, rule(), { mqtt: undefined, webhooks, keepPhoto: async () => {} }).catch(({ message, unknown }) => [message, unknown]);
  };
  expect(await result()).toBe('lock');
  expect(asked).toEqual([`${event.id}.open true rule,event,expires`]);
  for (answer of [500, 302]) expect(await result()).toEqual([`webhook lock answers ${answer}`, false]);
  expect(asked).toHaveLength(3); // nothing was asked twice, or followed
  answer = 0;
  expect(await result(0.3)).toEqual(['webhook lock: no answer in 0.3 s', true]);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  expect(asked.length).toBeLessThanOrEqual(4); // on a machine that stood still the time was over before it was asked
});

describe('the outbox', () => {
  function sink(name: string, deliver: (event: ServiceEvent) => Promise<void>): Sink {
    return { name, wants: ({ type }) => type !== 'clear', deliver };
  }
  const start = (sinks: Sink[]) => new Outbox({ events, sinks, onFailure: () => {}, waits: { first: 5, most: 20 } });

  it('keeps each camera’s order through failures, and one that is away holds up nobody else', async () => {
    const heard: Record<string, string[]> = { good: [], bad: [] };
    let tries = 0;
    const outbox = start([
      sink('good', async ({ camera, sequence }) => void heard.good!.push(`${camera}${sequence}`)),
      sink('bad', async ({ camera, sequence }) => {
        if (++tries % 3 !== 0) throw new Error('away');
        heard.bad!.push(`${camera}${sequence}`);
      }),
    ]);
    for (let i = 0; i < 6; i++) {
      const camera = i % 2 === 0 ? 'a' : 'b';
      events.add({ type: 'unknown', camera }, outbox.owing({ type: 'unknown', camera }));
      outbox.wake(camera);
    }
    await until('all is delivered', () => Object.keys(events.owed()).length === 0);
    const of = (name: string, camera: string) => heard[name]!.filter((line) => line.startsWith(camera));
    for (const name of ['good', 'bad']) expect([of(name, 'a'), of(name, 'b')]).toEqual([['a1', 'a3', 'a5'], ['b2', 'b4', 'b6']]);
    expect(outbox.owing({ type: 'clear', camera: 'a' })).toEqual([]);
    await outbox.close();
  });

  it('delivers again what it could not write down as delivered', async () => {
    const heard: number[] = [];
    const failures: unknown[] = [];
    const outbox = new Outbox({ events, sinks: [sink('s', async ({ sequence }) => void heard.push(sequence))], onFailure: (...given) => failures.push(given), waits: { first: 5, most: 20 } });
    for (let i = 0; i < 2; i++) events.add({ type: 'unknown', camera: 'a' }, ['s']);
    db.pragma('query_only = ON'); // as a full disk
    outbox.start();
    await until('it was tried again', () => failures.length >= 3);
    expect(new Set(heard)).toEqual(new Set([1]));
    db.pragma('query_only = OFF');
    await until('nothing is owed', () => Object.keys(events.owed()).length === 0);
    expect(heard.at(-1)).toBe(2);
    await outbox.close();
  });

  it('keeps what a close interrupts, and takes it up again', async () => {
    const hanging = start([sink('s', (event) => (event.sequence === 1 ? Promise.resolve() : new Promise((_, reject) => setTimeout(reject, 50))))]);
    for (let i = 0; i < 3; i++) events.add({ type: 'unknown', camera: 'a' }, ['s']);
    hanging.start();
    await until('the first is delivered', () => events.owed().s === 2);
    await hanging.close();
    const heard: number[] = [];
    const again = start([sink('s', async ({ sequence }) => void heard.push(sequence))]);
    again.start();
    await until('the rest is delivered', () => Object.keys(events.owed()).length === 0);
    expect(heard).toEqual([2, 3]);
    await again.close();
  });
});

describe('events that the database does not take', () => {
  function setUp(more: Partial<RuleConfig> = {}) {
    const lines: Record<string, unknown>[] = [];
    const log = pino({}, { write: (line) => void lines.push(JSON.parse(line)) });
    const did: string[] = [];
    // What an action finds: its event has to be there already.
    const act: Act = async (_, event) => `${did.push(`${event.camera}${events.find(event.id)!.sequence}`)}`;
    const rules = new Rules({ db, rules: [rule(more)], audit: new Audit(db), act, find: (id) => events.find(id), onEnd: () => {}, onFailure: () => {} });
    const outbox = new Outbox({ events, sinks: [], onFailure: () => {} });
    const hub = new Hub();
    const heard: string[] = [];
    hub.on('event', ({ type, camera, sequence }) => heard.push(`${camera} ${type} ${sequence}`));
    const metrics = new Metrics();
    const recorder = new Recorder({ db, events, outbox, rules, hub, metrics, log, snapshots: false });
    const metric = async (name: string) => (await metrics.registry.getSingleMetric(name)!.get()).values.reduce((sum, { value }) => sum + value, 0);
    afterwards(() => rules.close());
    return { recorder, rules, heard, did, metric, said: (what: string) => lines.filter(({ msg }) => String(msg).startsWith(what)) };
  }
  const kept = () => events.list({ limit: 100_000 }).map(({ type, camera }) => `${camera} ${type}`);

  it('wait, and are written and told in their order once it does', async () => {
    const { recorder, rules, heard, did, metric, said } = setUp({ validFor: 600, atMost: { times: 9, seconds: 1 } });
    db.pragma('query_only = ON'); // as a full disk
    const time = new Date(Date.now() - 60_000);
    recorder.tell({ ...ada, time });
    recorder.tell({ type: 'left', camera: 'door' });
    expect([heard, did, kept(), recorder.waiting]).toEqual([[], [], [], { count: 2, reason: 'attempt to write a readonly database' }]);
    expect([await metric('faiss_vision_events_waiting'), said('an event could not be written').length]).toEqual([2, 1]);
    db.pragma('query_only = OFF');
    recorder.tell({ type: 'near', camera: 'yard' }); // behind those that wait
    await until('nothing waits', () => recorder.waiting === undefined);
    recorder.tell({ type: 'clear', camera: 'yard' });
    expect(heard).toEqual(['door recognised 1', 'door left 2', 'yard near 3', 'yard clear 4']);
    expect([kept(), events.list({ limit: 1 })[0]!.time]).toEqual([heard.map((line) => line.replace(/ \d$/, '')), time.toISOString()]);
    await rules.close();
    expect(did).toEqual(['door1']);
    expect([await metric('faiss_vision_events_waiting'), await metric('faiss_vision_events_lost_total'), said('the events that waited').length]).toEqual([0, 0, 1]);
  });

  it('open no door when their time is over, and take nothing from the limit of those that come then', async () => {
    const { recorder, rules, did } = setUp({ validFor: 600, atMost: { times: 1, seconds: 1200 } });
    db.pragma('query_only = ON');
    recorder.tell({ ...ada, time: new Date(Date.now() - 3600_000) });
    db.pragma('query_only = OFF');
    await until('nothing waits', () => recorder.waiting === undefined);
    recorder.tell(ada);
    await rules.close();
    expect(did).toEqual(['door2']);
    expect(new Audit(db).list({ limit: 9 }).map(({ state }) => state)).toEqual(['done', 'expired']);
  });

  it('because another program holds it wait without holding anything else up', async () => {
    const { recorder, heard } = setUp();
    const other = openDatabase(join(folder, 'service.db'));
    afterwards(() => other.close());
    db.pragma('query_only = ON');
    recorder.tell({ type: 'near', camera: 'yard' });
    db.pragma('query_only = OFF');
    other.exec('BEGIN IMMEDIATE');
    let attempts = 0;
    const add = events.add.bind(events);
    events.add = (...given) => (attempts++, add(...given));
    const delay = monitorEventLoopDelay({ resolution: 10 });
    delay.enable();
    // A wait of the usual patience takes 5 s at each attempt; a machine that stands still does so at one of them.
    let longest = Infinity;
    for (let round = 0; round < 3 && longest > 4; round++) {
      const before = attempts;
      delay.reset();
      await until('it was tried again', () => attempts > before && recorder.waiting?.reason === 'database is locked');
      await sleep(50);
      longest = delay.max / 1e9;
    }
    expect(longest).toBeLessThan(4);
    delay.disable();
    other.exec('COMMIT');
    await until('nothing waits', () => recorder.waiting === undefined);
    expect([heard, db.pragma('busy_timeout', { simple: true })]).toEqual([['yard near 1'], 5000]);
  });

  it('are 10,000 at most; the oldest is given up, counted and logged', async () => {
    const { recorder, metric, said } = setUp();
    db.pragma('query_only = ON');
    for (let i = 0; i < 10_003; i++) recorder.tell({ type: 'near', camera: 'yard', coverage: i });
    expect([recorder.waiting?.count, await metric('faiss_vision_events_lost_total')]).toEqual([10_000, 3]);
    expect(said('an event is lost')).toMatchObject(Array(3).fill({ type: 'near', camera: 'yard', err: { message: 'attempt to write a readonly database' } }));
    db.pragma('query_only = OFF');
    db.pragma('synchronous = OFF'); // the test need not wait for its disk
    await recorder.close();
    expect([events.list({ limit: 1 })[0]!.coverage, events.last, recorder.waiting]).toEqual([3, 10_000, undefined]);
  });

  it('are tried once more at the end, and lost if that fails', async () => {
    const { recorder, metric, said } = setUp();
    db.pragma('query_only = ON');
    for (let i = 0; i < 2; i++) recorder.tell({ type: 'near', camera: 'yard' });
    await recorder.close();
    expect([events.last, await metric('faiss_vision_events_lost_total'), said('an event is lost').length]).toEqual([0, 2, 2]);
    recorder.tell({ type: 'near', camera: 'yard' });
    db.pragma('query_only = OFF');
    await recorder.close();
    expect([kept(), await metric('faiss_vision_events_lost_total')]).toEqual([['yard near'], 2]);
  });

  it('hold nobody up where the fault is the event’s own', async () => {
    const { recorder, heard, metric, said } = setUp();
    recorder.tell({ type: 'near', camera: null as never });
    recorder.tell({ type: 'near', camera: 'yard' });
    expect([heard, recorder.waiting, await metric('faiss_vision_events_lost_total')]).toEqual([['yard near 1'], undefined, 1]);
    expect(said('an event is lost')).toMatchObject([{ err: { message: 'NOT NULL constraint failed: events.camera' } }]);
  });
});
