import { createServer, type AddressInfo } from 'node:net';
import { Aedes, type AuthenticateError } from 'aedes';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Mqtt } from '../packages/service/dist/delivery/mqtt.js';
import type { ServiceEvent } from '../packages/service/dist/store/events.js';
import { Broker, mosquitto, Subscriber } from './support/broker.js';
import { afterwards, closed } from './support/closing.js';
import { RunningService } from './support/service.js';
import { until } from './support/wait.js';

const event = { id: 'e', sequence: 1, type: 'unknown', camera: 'door', time: new Date().toISOString(), snapshot: false } as ServiceEvent;

it('a broker that refuses for a while is asked again; all goes with quality of service 1, states retained', async () => {
  const broker = await Aedes.createBroker();
  let refused = 0;
  // As one that has just come up, or whose list of users is being changed.
  broker.authenticate = (_client, user, password, done) => {
    if (user === 'vision' && `${password}` === 's3cret' && refused >= 2) return done(null, true);
    refused++;
    done(Object.assign(new Error('not now'), { returnCode: 3 }) as AuthenticateError, false);
  };
  const heard: { topic: string; qos: number; retain: boolean; payload: string }[] = [];
  broker.on('publish', ({ topic, qos, retain, payload }, client) => client && heard.push({ topic, qos, retain, payload: payload.toString() }));
  const server = createServer(broker.handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const mqtt = new Mqtt({ url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`, topic: 'v', username: 'vision', password: 's3cret' }, 'client');
  afterwards(async () => {
    await mqtt.close();
    await new Promise<void>((resolve) => broker.close(resolve));
    server.close();
  });
  const failures: string[] = [];
  mqtt.on('failed', ({ message }) => failures.push(message));
  mqtt.tellState('door', { state: 'lost', reason: 'why', since: new Date(0) });
  mqtt.connect();
  await until('it is connected', () => mqtt.connected);
  expect([refused, failures]).toEqual([2, ['Connection refused: Server unavailable']]);
  await mqtt.deliver(event, AbortSignal.timeout(120_000));
  await until('all is there', () => heard.length >= 3);
  expect(heard.sort((a, b) => a.topic.localeCompare(b.topic))).toEqual([
    { topic: 'v/cameras/door/events', qos: 1, retain: false, payload: JSON.stringify(event) },
    { topic: 'v/cameras/door/state', qos: 1, retain: true, payload: '{"state":"lost","reason":"why","since":"1970-01-01T00:00:00.000Z"}' },
    { topic: 'v/status', qos: 1, retain: true, payload: 'online' },
  ]);
});

describe.skipIf(mosquitto === undefined)('with mosquitto', () => {
  it('a door is opened at once or never: not when the broker is back', async () => {
    const broker = closed(await Broker.start());
    const mqtt = closed(new Mqtt({ url: broker.url, topic: 'v' }, 'client'));
    mqtt.connect();
    await until('it is connected', () => mqtt.connected);
    const failure = async (sent: Promise<void>) => sent.then(() => 'sent', ({ code, unknown }: { code: string; unknown?: boolean }) => [code, unknown]);
    broker.signal('SIGSTOP');
    // It was sent, and nobody knows what became of it.
    expect(await failure(mqtt.send('door', 'first', { timeout: 300 }))).toEqual(['ERR_MQTT', true]);
    await broker.kill();
    await until('the connection is gone', () => !mqtt.connected);
    expect(await failure(mqtt.send('door', 'second'))).toEqual(['ERR_MQTT', undefined]);
    await broker.restart();
    const messages = closed(await Subscriber.open(broker));
    await until('it is connected again', () => mqtt.connected);
    await mqtt.send('door', 'third');
    await until('the third is there', () => messages.of('door').length > 0);
    expect(messages.of('door').map(({ payload }) => payload)).toEqual(['third']);
  });

  it('a broker that hangs does not hold up the end of the service', async () => {
    const broker = closed(await Broker.start());
    const service = closed(new RunningService({ mqtt: { url: broker.url }, cameras: [{ id: 'gone', source: '/nowhere' }] }));
    await service.start();
    await until('it is connected', async () => (await service.call('GET', '/v1/status')).body.mqtt.connected);
    broker.signal('SIGSTOP');
    try {
      expect(await Promise.race([service.stop(), sleep(50_000, 'it does not end', { ref: false })])).toBe(0);
    } finally {
      broker.signal('SIGCONT');
    }
  });

  it('the last will tells that the service was killed, also to whoever comes later', async () => {
    const broker = closed(await Broker.start());
    const messages = closed(await Subscriber.open(broker));
    const status = () => messages.of('faiss-vision/status').at(-1)?.payload;
    const service = closed(new RunningService({ mqtt: { url: broker.url } }));
    await service.start();
    await until('it is online', () => status() === 'online');
    await service.stop('SIGKILL');
    await until('its will was done', () => status() === 'offline');
    const late = closed(await Subscriber.open(broker));
    await until('who comes later hears it', () => late.received.length > 0);
    expect(late.received).toEqual([{ topic: 'faiss-vision/status', payload: 'offline', retain: true }]);
    await service.start();
    await until('it is online again', () => status() === 'online');
  });
});
