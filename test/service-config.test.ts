import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../packages/service/dist/config/load.js';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'faiss-vision-config-'))));
afterAll(() => rmSync(folder, { recursive: true }));

function load(text: string, environment: NodeJS.ProcessEnv = {}) {
  const file = join(folder, 'serve.yaml');
  writeFileSync(file, text);
  return loadConfig(file, environment).then(({ config }) => config);
}

/** The mistakes, without the file's name. */
async function mistakes(text: string, environment?: NodeJS.ProcessEnv): Promise<string[]> {
  const error = await load(text, environment).then(
    () => undefined,
    (reason: Error & { code: string }) => reason,
  );
  expect(error?.code).toBe('ERR_CONFIG_INVALID');
  return error!.message.split('\n').map((line) => line.replace(/^.*serve\.yaml:/, ''));
}

const DOOR = `
mqtt: { url: "mqtt://localhost" }
cameras:
  - { id: door, source: "rtsp://camera/1" }
  - { id: yard, source: "rtsp://camera/2" }
rules:
  - name: open
    people: [Ada]
    cameras: [door]
    atMost: { times: 1, seconds: 10 }
    do: [{ mqtt: { topic: door/open } }]
`;

describe('a configuration', () => {
  it('may be empty; every default is filled in', async () => {
    const config = await load('');
    expect(config).toMatchObject({
      cameras: [],
      rules: [],
      decision: { frames: 3 },
      http: { host: '127.0.0.1', port: 8080 },
      logs: { level: 'info' },
    });
    expect(config.data).toBe(join(folder, 'data'));
  });

  it('has paths relative to its own folder, and addresses as they are', async () => {
    const usb = '/dev/v4l/by-id/usb-cam';
    const { cameras } = await load(`cameras: [{ id: a, source: film.mp4 }, { id: b, source: "0" }, { id: c, source: 1 }, { id: d, source: "http://x/y" }, { id: e, source: ${usb} }]`);
    expect(cameras.map(({ source }) => source)).toEqual([join(folder, 'film.mp4'), '0', '1', 'http://x/y', usb]);
    writeFileSync(join(folder, 'a.pem'), '');
    const { mqtt, models, http } = await load('{ mqtt: { url: "mqtt://h", ca: a.pem }, models: { recognizer: { model: facenet, weights: casia-webface }, depth: { weights: seeded } }, http: { tls: { cert: a.pem, key: ./a.pem } } }');
    expect([mqtt!.ca, http.tls!.cert, http.tls!.key]).toEqual(Array(3).fill(join(folder, 'a.pem')));
    expect([models.recognizer.weights, models.depth!.weights]).toEqual(['casia-webface', 'seeded']);
  });

  it('is as docs/service.md shows it, where its files are there', async () => {
    const [, text] = /```yaml\n([^]*?)```/.exec(readFileSync(join(__dirname, '../docs/service.md'), 'utf8'))!;
    const environment = { CAMERA_PASSWORD: 'c', MQTT_PASSWORD: 'm', HOOK_SECRET: '0123456789abcdef' };
    writeFileSync(join(folder, 'fcrn.safetensors'), '');
    const { cameras, rules, mqtt } = await load(text!, environment);
    expect([cameras[0]!.source, mqtt!.password, rules[0]!.people]).toEqual(['rtsp://user:c@10.0.0.5/stream1', 'm', ['Ada', 'Grace']]);
  });

  it('takes secrets from the environment', async () => {
    const text = 'cameras: [{ id: a, source: "rtsp://u:${PASSWORD}@h/1" }]';
    expect((await load(text, { PASSWORD: 's3' })).cameras[0]!.source).toBe('rtsp://u:s3@h/1');
    expect(await mistakes(text)).toEqual(['1:20: cameras[0].source: the environment variable PASSWORD is not set']);
  });
});

const HOOK = (more: string) => `webhooks:\n  - name: a\n    ${more}`;
const RULE = (more: string) => `rules:\n  - name: r\n    event: unknown\n    ${more}\n    do: [{ photo: true }]`;
const NO_PROXIES = ['0.0.0.0/0', '"::/0"', '10.0.0.0/33', 'fd00::/129', 'proxy', '"true"', 'fe80::1%eth0', '10.0.0.0/08', '10.0.0.0/255.0.0.0'];
const SECRET = 'secret: "0123456789abcdef"';

describe('a mistake is told with its line', () => {
  it.each([
    ['a: [', ['1:5: Flow sequence in block collection must be sufficiently indented and end with a ]']],
    ['http:\n  prot: 1', ['2:3: http.prot: there is no such setting']],
    ['\ncameras:\n  - id: x', ["3:5: cameras[0]: must have required property 'source'"]],
    ['decision:\n  frames: many', ['2:3: decision.frames: must be integer']],
    ['http: { port: 70000 }', ['1:9: http.port: must be <= 65535']],
    ['logs:\n  level: loud', ['2:3: logs.level: must be one of fatal, error, warn, info, debug, trace']],
    ['cameras:\n  - { id: a, source: x }\n  - { id: a, source: y }', ['3:7: cameras[1].id: "a" is there twice']],
    ['cameras:\n  - id: a\n    source: x\n    depth: true', ['4:5: cameras[0].depth: needs models.depth']],
    ['rules:\n  - name: r\n    event: near\n    do: [{ foto: true }]', ['4:10: rules[0].do[0]: must be one of mqtt, webhook, photo']],
    [
      'rules:\n  - name: r\n    opensDoor: false\n    cameras: [nowhere]\n    do: [{ webhook: none }]',
      ['4:15: rules[0].cameras[0]: there is no camera "nowhere"', '5:12: rules[0].do[0].webhook: there is no webhook "none"'],
    ],
    ['cameras:', ['1:1: cameras: must be array']],
    ['- a', ['1:1: must be object']],
    ['\nhttp: *x', ['2:7: there is no anchor &x']],
    ['http: {}\nhttp: {}', ['2:1: Map keys must be unique']],
    ['models:\n  recognizer:\n    model: dlib', ['3:5: models.recognizer.model: must be one of resnet128, facenet']],
    ['models:\n  recognizer: { weights: /nowhere/a }', ['2:17: models.recognizer.weights: there is no file "/nowhere/a"']],
    ['models:\n  depth: { weights: /nowhere/b }', ['2:12: models.depth.weights: there is no file "/nowhere/b"']],
    ['http:\n  tls: { cert: /nowhere/c, key: /nowhere/k }', ['2:10: http.tls.cert: there is no file "/nowhere/c"', '2:28: http.tls.key: there is no file "/nowhere/k"']],
    ['mqtt:\n  url: mqtt://h\n  ca: /nowhere/d', ['3:3: mqtt.ca: there is no file "/nowhere/d"']],
    [
      `http:\n  trustedProxies:\n${['10.0.0.1', '10.0.0.0/8', 'fd00::/8', '"::1"', ...NO_PROXIES].map((proxy) => `    - ${proxy}\n`).join('')}`,
      NO_PROXIES.map((_, i) => `${i + 7}:7: http.trustedProxies[${i + 4}]: must be an address, or a network such as 10.0.0.0/8; not everybody`),
    ],
    ['http: { trustedProxies: true }', ['1:9: http.trustedProxies: must be array']],
    ['mqtt:\n  url: "mqtt://h:99999"', ['2:3: mqtt.url: is no address']],
    ['mqtt:\n  url: "mqtt://"', ['2:3: mqtt.url: is no address']],
    ['cameras:\n  - id: a\n    source: "http://[x"', ['3:5: cameras[0].source: is no address']],
    [HOOK(`url: "https://"\n    ${SECRET}`), ['3:5: webhooks[0].url: is no address']],
    [HOOK(`url: "https://u:p@h/"\n    ${SECRET}`), ['3:5: webhooks[0].url: must be without user and password: the signature says who sends']],
    [HOOK('url: "https://h/"\n    secret: "whsec_..............."'), ['4:5: webhooks[0].secret: must be 16 bytes or more, in base64 after whsec_']],
    [RULE('hours: "07:00-07:00"'), ['4:5: rules[0].hours: ends when it begins; all day is without hours']],
    [RULE('hours: 7-19'), [expect.stringMatching(/^4:5: rules\[0\]\.hours: must match pattern .* \("07:00-19:00", local time; may pass midnight\)$/)]],
    [RULE('maxDistance: 0.4'), ['4:5: rules[0].maxDistance: the event unknown names nobody']],
    [RULE('people: Ada'), ["4:5: rules[0].people: must be names of people, or 'everyone' who is enrolled"]],
    ['rules:\n  - name: r\n    event: near\n    do: [{ photo: true }]', ['4:12: rules[0].do[0].photo: the event near shows no face']],
    ['rules:\n  - name: r\n    do:\n      - mqtt:\n          topik: a', ["4:9: rules[0].do[0].mqtt: must have required property 'topic'", '5:11: rules[0].do[0].mqtt.topik: there is no such setting']],
    ['logs:\n  size: 0m', [expect.stringMatching(/^2:3: logs\.size: must match pattern/)]],
  ])('%j', async (text, expected) => {
    expect(await mistakes(text)).toEqual(expected as string[]);
  });
});

describe('a rule that may open a door', () => {
  it('is taken with a confirmation over several frames, a rate limit and people', async () => {
    expect((await load(DOOR)).rules[0]).toMatchObject({ name: 'open', event: 'recognised', validFor: 5 });
  });

  it.each([
    [DOOR.replace(/ +atMost.*\n/, ''), 'needs a rate limit: atMost'],
    [DOOR.replace(/ +people.*\n/, ''), 'must say who: people'],
    [`decision: { frames: 2 }\n${DOOR}`, 'needs a confirmation over at least 3 frames, and the camera door has 2'],
    [DOOR.replace('camera/1" }', 'camera/1", frames: 1 }'), 'and the camera door has 1'],
    [DOOR.replace('cameras: [door]', '').replace('camera/2" }', 'camera/2", frames: 1 }'), 'and the camera yard has 1'],
    [DOOR.replace('people: [Ada]', 'event: near'), 'must go by the event recognised'],
  ])('is refused otherwise', async (text, expected) => {
    const lines = await mistakes(text);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^\d+:5: rules\[0\]: "open" may open a door/);
    expect(lines[0]).toContain(expected);
  });

  it('is one unless it says otherwise; keeping a photo opens none', async () => {
    await load(DOOR.replace(/ +atMost.*\n/, '    opensDoor: false\n'));
    await load('rules: [{ name: r, event: unknown, do: [{ photo: true }] }]');
  });
});
