import { Type, type Static } from 'typebox';

const closed = { additionalProperties: false };
const text = (description: string, more = {}) => Type.String({ minLength: 1, description, ...more });
const name = (description: string) =>
  Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$', description: `${description}: letters, digits, - and _` });
const number = (description: string, more: object) => Type.Number({ description, ...more });
const whole = (description: string, more: object) => Type.Integer({ description, ...more });

export const EVENT_TYPES = ['recognised', 'unknown', 'left', 'near', 'clear', 'camera-lost', 'camera-back'] as const;
const EventType = Type.Enum([...EVENT_TYPES]);

const Camera = Type.Object(
  {
    id: name('what events, topics and addresses call the camera'),
    name: Type.Optional(text('what people call it; default the id')),
    source: text('rtsp: or http: address, number or /dev/v4l/... file of a USB camera, path of a film or of a folder of pictures'),
    reader: Type.Enum(['auto', 'opencv', 'ffmpeg'], {
      default: 'auto',
      description: 'who reads rtsp, USB and films: @u4/opencv4nodejs, the program ffmpeg, or the first of them that is installed',
    }),
    fps: number('most frames a second that are looked at', { exclusiveMinimum: 0, maximum: 60, default: 10 }),
    repeat: Type.Boolean({ default: false, description: 'a film or a folder starts again at its end' }),
    faces: Type.Boolean({ default: true, description: 'look for faces' }),
    depth: Type.Boolean({ default: false, description: 'watch for something near; needs models.depth' }),
    frames: Type.Optional(whole('as decision.frames, for this camera', { minimum: 1, maximum: 100 })),
    stallAfter: number('seconds without a frame after which a camera counts as stalled', { minimum: 0.5, maximum: 3600, default: 10 }),
    lostAfter: number('seconds without a frame after which a camera counts as lost and is opened again', { minimum: 1, maximum: 3600, default: 30 }),
  },
  closed,
);

const Models = Type.Object(
  {
    recognizer: Type.Object(
      {
        model: Type.Enum(['resnet128', 'facenet'], { default: 'resnet128' }),
        weights: Type.Optional(text("a safetensors file, or for facenet 'vggface2' or 'casia-webface'")),
        precision: Type.Enum(['fp32', 'bf16'], { default: 'fp32' }),
        minFaceSize: number('smallest face to look for, pixels', { minimum: 12, maximum: 1000, default: 40 }),
      },
      { ...closed, default: {} },
    ),
    depth: Type.Optional(
      Type.Object(
        {
          weights: text("a converted weights file, or 'seeded': made-up numbers, no real depth"),
          precision: Type.Enum(['fp32', 'bf16'], { default: 'fp32' }),
          near: Type.Optional(Type.Enum(['high', 'low'])),
          every: number('seconds from one map of a camera to the next', { minimum: 0.05, maximum: 60, default: 0.5 }),
          clearAt: number('coverage at which an alert ends', { minimum: 0, maximum: 0.35, default: 0.3 }),
        },
        closed,
      ),
    ),
    threads: Type.Optional(whole('threads for one operation of FAISS or torch', { minimum: 1, maximum: 1024 })),
  },
  { ...closed, default: {} },
);

const Decision = Type.Object(
  {
    frames: whole('frames one after the other that must agree on a person', { minimum: 1, maximum: 100, default: 3 }),
    unknownFrames: whole('frames one after the other without anybody known before a face is unknown', { minimum: 1, maximum: 1000, default: 6 }),
    minScore: number("the detector's score below which a face is tracked but not recognised", { minimum: 0, maximum: 1, default: 0.9 }),
    minSize: number('width in pixels below which a face is tracked but not recognised', { minimum: 0, default: 48 }),
    minSharpness: number('sharpness below which a face is tracked but not recognised', { minimum: 0, default: 0 }),
    threshold: Type.Optional(number("distance below which two faces are one person's; default the gallery's", { exclusiveMinimum: 0 })),
    leftAfter: number('seconds without a face before its person has left', { minimum: 0.1, maximum: 600, default: 2 }),
  },
  { ...closed, default: {} },
);

const Events = Type.Object(
  {
    snapshots: Type.Boolean({ default: false, description: 'keep the picture of the face with its event' }),
    days: number('days that events, snapshots and the audit are kept', { exclusiveMinimum: 0, default: 90 }),
  },
  { ...closed, default: {} },
);

const Mqtt = Type.Object(
  {
    url: Type.String({ pattern: '^(mqtt|mqtts|ws|wss)://', description: "the broker's address: mqtt://host:1883" }),
    username: Type.Optional(Type.String()),
    password: Type.Optional(Type.String()),
    clientId: Type.Optional(text('default faiss-vision and some letters that stay')),
    topic: Type.String({
      pattern: '^[^+#/\\u0000][^+#\\u0000]*[^+#/\\u0000]$',
      default: 'faiss-vision',
      description: 'what every topic starts with',
    }),
    ca: Type.Optional(text("path of the broker's authority, PEM")),
  },
  closed,
);

const Webhook = Type.Object(
  {
    name: name('what rules and the API call it'),
    url: Type.String({ pattern: '^https?://', description: 'where events are posted' }),
    secret: Type.String({ minLength: 16, description: 'signs every request (HMAC-SHA256)' }),
    events: Type.Optional(Type.Array(EventType, { minItems: 1, uniqueItems: true, description: 'default all; an empty list is refused' })),
    cameras: Type.Optional(Type.Array(Type.String(), { minItems: 1, uniqueItems: true, description: 'default all' })),
    rulesOnly: Type.Boolean({ default: false, description: 'only what rules send' }),
    timeout: number('seconds to wait for an answer', { minimum: 0.1, maximum: 120, default: 10 }),
  },
  closed,
);

const Action = Type.Union([
  Type.Object(
    {
      mqtt: Type.Object(
        { topic: Type.String({ pattern: '^[^+#\\u0000]+$' }), payload: Type.Optional(Type.String()), retain: Type.Optional(Type.Boolean()) },
        closed,
      ),
    },
    closed,
  ),
  Type.Object({ webhook: text('name of a webhook') }, closed),
  Type.Object({ photo: Type.Literal(true) }, closed),
], { description: 'one of mqtt, webhook, photo' });

const Rule = Type.Object(
  {
    name: name('what the audit calls it'),
    event: Type.Enum([...EVENT_TYPES], { default: 'recognised' }),
    people: Type.Optional(
      Type.Union([Type.Literal('everyone'), Type.Array(Type.String({ minLength: 1 }), { minItems: 1, uniqueItems: true })], {
        description: "names of people, or 'everyone' who is enrolled",
      }),
    ),
    cameras: Type.Optional(Type.Array(Type.String(), { minItems: 1, uniqueItems: true, description: 'default all' })),
    hours: Type.Optional(
      Type.String({ pattern: '^([01]\\d|2[0-3]):[0-5]\\d-([01]\\d|2[0-3]):[0-5]\\d$', description: '"07:00-19:00", local time; may pass midnight' }),
    ),
    days: Type.Optional(Type.Array(Type.Enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']), { minItems: 1, uniqueItems: true })),
    maxDistance: Type.Optional(number('how far the face may be from the person; smaller is surer', { exclusiveMinimum: 0 })),
    atMost: Type.Optional(
      Type.Object(
        {
          times: whole('how often', { minimum: 1 }),
          seconds: number('in how long', { exclusiveMinimum: 0 }),
        },
        closed,
      ),
    ),
    opensDoor: Type.Optional(Type.Boolean({ description: 'whether it may open a door; default yes for mqtt and webhook actions' })),
    validFor: number('seconds after the event in which an action may still begin', { exclusiveMinimum: 0, maximum: 3600, default: 5 }),
    enabled: Type.Boolean({ default: true }),
    do: Type.Array(Action, { minItems: 1 }),
  },
  closed,
);

const Http = Type.Object(
  {
    host: text('address to listen at', { default: '127.0.0.1' }),
    port: whole('0 takes a free one', { minimum: 0, maximum: 65535, default: 8080 }),
    tls: Type.Optional(Type.Object({ cert: text('path, PEM'), key: text('path, PEM') }, closed)),
    trustedProxies: Type.Array(text('an address, or a network such as 10.0.0.0/8'), {
      default: [],
      description: 'proxies in front, whose X-Forwarded-For, -Host and -Proto are believed',
    }),
    origins: Type.Array(Type.String({ pattern: '^https?://[^/]+$' }), { default: [], description: 'other origins whose pages may use the API' }),
    maxBody: whole('bytes of a request', { minimum: 1024, maximum: 256 * 2 ** 20, default: 10 * 2 ** 20 }),
    maxPixels: whole('pixels of a picture', { minimum: 1024, maximum: 2 ** 26, default: 2 ** 25 }),
    requestsPerMinute: whole('requests of one address in a minute', { minimum: 1, default: 6000 }),
    failuresPerMinute: whole('wrong tokens of one address in a minute', { minimum: 1, default: 10 }),
    slowest: number('seconds within which a request has to arrive, its headers in a third of that', { minimum: 1, maximum: 600, default: 30 }),
    connections: whole('connections at the same time', { minimum: 1, default: 512 }),
    streams: whole('live streams at the same time', { minimum: 1, default: 64 }),
  },
  { ...closed, default: {} },
);

const Logs = Type.Object(
  {
    level: Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace'], { default: 'info' }),
    folder: Type.Optional(text('folder of the log files; default: standard output')),
    size: Type.String({ pattern: '^[1-9]\\d*[kmg]$', default: '10m', description: 'size at which a new file begins' }),
    every: Type.Enum(['daily', 'hourly'], { default: 'daily', description: 'age at which a new file begins' }),
    files: whole('files kept', { minimum: 1, maximum: 10_000, default: 14 }),
    names: Type.Boolean({ default: false, description: 'write names of people into the logs' }),
  },
  { ...closed, default: {} },
);

export const ConfigSchema = Type.Object(
  {
    data: text('folder of the database, the gallery and the photos', { default: 'data' }),
    models: Models,
    decision: Decision,
    events: Events,
    cameras: Type.Array(Camera, { default: [] }),
    mqtt: Type.Optional(Mqtt),
    webhooks: Type.Array(Webhook, { default: [] }),
    rules: Type.Array(Rule, { default: [] }),
    http: Http,
    logs: Logs,
  },
  { additionalProperties: false, title: 'faiss-vision serve' },
);

export type Config = Static<typeof ConfigSchema>;
export type CameraConfig = Static<typeof Camera>;
export type DecisionConfig = Static<typeof Decision>;
export type WebhookConfig = Static<typeof Webhook>;
export type MqttConfig = Static<typeof Mqtt>;
export type RuleConfig = Static<typeof Rule>;
export type ActionConfig = Static<typeof Action>;
export type LogsConfig = Static<typeof Logs>;
export type HttpConfig = Static<typeof Http>;
export type EventType = (typeof EVENT_TYPES)[number];
