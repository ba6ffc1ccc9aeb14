import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mjpegServer } from '../scripts/service/mjpeg.mjs';
import { Broker, mosquitto, Subscriber } from './support/broker.js';
import { RunningService, visits } from './support/service.js';
import { until } from './support/wait.js';

const DOOR = 'house/door/open';
const rule = (more = {}) => ({ name: 'open', people: ['Obama'], cameras: ['door'], atMost: { times: 10, seconds: 60 }, do: [{ mqtt: { topic: DOOR } }], ...more });

/** What happened, in a few words each. */
const told = (events: { type: string; person?: { name: string } }[]) => events.map(({ type, person }) => (person ? `${type} ${person.name}` : type));

const closing: (() => unknown)[] = [];
const closed = <T extends { close(): unknown }>(thing: T): T => {
  closing.unshift(() => thing.close());
  return thing;
};
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

describe.skipIf(mosquitto === undefined)('from a camera to an open door (with mosquitto)', () => {
  let broker: Broker;
  let messages: Subscriber;
  beforeEach(async () => {
    broker = closed(await Broker.start());
    messages = closed(await Subscriber.open(broker));
  });

  it('Obama comes and goes, then Biden: the right events once each, in order, and the door opens once', async () => {
    const camera = closed(await mjpegServer(await visits(), { fromStart: true, repeat: false }));
    const service = closed(new RunningService({
      mqtt: { url: broker.url },
      cameras: [{ id: 'door', source: camera.url, stallAfter: 60, lostAfter: 60 }],
      decision: { leftAfter: 0.8 },
      rules: [rule(), rule({ name: 'photo', do: [{ photo: true }] })],
    }));
    await service.start();
    await service.enroll('Obama', 'obama.jpg');
    // The film began with nobody for longer than enrolling takes; where it did not, everybody is seen from the start again.
    camera.drop();
    await until('everybody has left', () => messages.events().filter(({ type }) => type === 'left').length >= 2);
    const events = await service.events();
    const faces = (list: typeof events) => list.filter(({ type }) => !type.startsWith('camera'));
    expect(told(faces(events)).slice(-4)).toEqual(['recognised Obama', 'left Obama', 'unknown', 'left']);
    // The broker had each of them, once, in the database's order.
    await until('every event is delivered', () => messages.events().length === events.length);
    expect(messages.events().map(({ id }) => id)).toEqual(events.map(({ id }) => id));
    const recognised = events.filter(({ type }) => type === 'recognised');
    expect(messages.of(DOOR).map(({ payload }) => JSON.parse(payload).event.id)).toEqual(recognised.map(({ id }) => id));
    expect(recognised).toHaveLength(1);
    const { entries } = (await service.call('GET', '/v1/audit')).body;
    expect(entries.map(({ rule, state, event }: any) => [rule, state, event]).sort()).toEqual([['open', 'done', recognised[0].id], ['photo', 'done', recognised[0].id]]);
    const photo = await fetch(new URL(`/v1/events/${recognised[0].id}/snapshot.jpg`, service.url));
    expect([photo.status, photo.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
    expect(messages.of('faiss-vision/status').at(-1)!.payload).toBe('online');
    expect(await service.stop()).toBe(0);
    expect(messages.of('faiss-vision/status').at(-1)!.payload).toBe('offline');
  });
});
