import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
    const { cameras } = await load('cameras: [{ id: a, source: film.mp4 }, { id: b, source: "0" }, { id: c, source: "http://x/y" }]');
    expect(cameras.map(({ source }) => source)).toEqual([join(folder, 'film.mp4'), '0', 'http://x/y']);
  });

  it('takes secrets from the environment', async () => {
    const text = 'cameras: [{ id: a, source: "rtsp://u:${PASSWORD}@h/1" }]';
    expect((await load(text, { PASSWORD: 's3' })).cameras[0]!.source).toBe('rtsp://u:s3@h/1');
    expect(await mistakes(text)).toEqual(['1:20: cameras[0].source: the environment variable PASSWORD is not set']);
  });
});

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
  ])('%j', async (text, expected) => {
    expect(await mistakes(text)).toEqual(expected);
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
