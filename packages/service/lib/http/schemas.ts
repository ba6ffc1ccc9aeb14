import { Type, type TProperties } from 'typebox';
import { EVENT_TYPES } from '../config/schema.js';
import { SCOPES } from '../store/tokens.js';

export const Failure = Type.Object(
  {
    code: Type.String({ description: 'stable, such as ERR_IMAGE_DECODE' }),
    message: Type.String(),
    requestId: Type.String(),
    reason: Type.Optional(Type.String({ description: 'with ERR_FACE_QUALITY: size, score, sharpness, yaw, pitch or roll' })),
    measured: Type.Optional(Type.Record(Type.String(), Type.Number(), { description: 'with ERR_FACE_QUALITY: what the face is like' })),
  },
  { description: 'why a request failed' },
);

export const Box = Type.Object(
  { x: Type.Number(), y: Type.Number(), width: Type.Number(), height: Type.Number() },
  { description: 'pixels of the upright picture' },
);
const Score = Type.Number({ description: 'how sure the detector is, 0 to 1' });
const Distance = Type.Number({ description: "Euclidean distance to the person's nearest face; less is surer" });
const Time = Type.String({ format: 'date-time' });
const Id = Type.String({ minLength: 1, maxLength: 64, pattern: '^[A-Za-z0-9._-]+$' });

export const DetectedFace = Type.Object({
  box: Box,
  score: Score,
  landmarks: Type.Array(Type.Array(Type.Number(), { minItems: 2, maxItems: 2 }), {
    description: 'left eye, right eye, nose, corners of the mouth: [x, y] each',
  }),
});
export const EmbeddedFace = Type.Object({ box: Box, score: Score, features: Type.Array(Type.Number()) });

export const PersonName = Type.Object({ id: Type.String(), name: Type.String() });
export const Person = Type.Object({
  id: Type.String(),
  name: Type.String(),
  faces: Type.Integer({ description: 'how many there are' }),
  metadata: Type.Record(Type.String(), Type.Unknown()),
  created: Time,
  updated: Time,
});
export const PersonFace = Type.Object({ id: Type.String(), created: Time, box: Type.Optional(Box), score: Type.Optional(Score) });

export const IdentifiedFace = Type.Object({
  box: Box,
  score: Score,
  known: Type.Boolean({ description: 'whether the first of the matches is near enough' }),
  matches: Type.Array(Type.Object({ person: PersonName, distance: Distance }), { description: 'the nearest people, best first' }),
});
export const Verification = Type.Object({ same: Type.Boolean(), distance: Type.Optional(Distance), threshold: Type.Number() });

export const Depth = Type.Object({
  near: Type.Boolean(),
  coverage: Type.Number({ description: 'share of the picture that is near, 0 to 1' }),
  width: Type.Integer(),
  height: Type.Integer(),
  seeded: Type.Boolean({ description: 'made-up weights: no real depth' }),
});

const CameraState = Type.Enum(['starting', 'live', 'stalled', 'lost']);
export const Camera = Type.Object({
  id: Type.String(),
  name: Type.String(),
  source: Type.String({ description: 'without its password' }),
  state: CameraState,
  reason: Type.Optional(Type.String({ description: 'why it is stalled or lost' })),
  since: Time,
  faces: Type.Boolean(),
  depth: Type.Boolean(),
  width: Type.Optional(Type.Integer()),
  height: Type.Optional(Type.Integer()),
  near: Type.Optional(Type.Boolean()),
  coverage: Type.Optional(Type.Number()),
  frames: Type.Object({
    received: Type.Integer(),
    skipped: Type.Integer({ description: "came sooner than the camera's fps asks for" }),
    dropped: Type.Integer({ description: 'a newer one came before their turn' }),
    analysed: Type.Integer(),
    failed: Type.Integer(),
  }),
});

export const Live = Type.Object({
  camera: Type.String(),
  frame: Type.Integer({ description: 'number of the frame since the start' }),
  time: Type.Integer({ description: 'milliseconds since 1970' }),
  width: Type.Integer(),
  height: Type.Integer(),
  near: Type.Optional(Type.Boolean()),
  coverage: Type.Optional(Type.Number()),
  faces: Type.Array(
    Type.Object({
      track: Type.String(),
      box: Box,
      score: Score,
      state: Type.Enum(['looking', 'recognised', 'unknown']),
      person: Type.Optional(PersonName),
      distance: Type.Optional(Distance),
    }),
  ),
});

export const Event = Type.Object({
  id: Type.String({ format: 'uuid', description: 'the same for a repeat' }),
  sequence: Type.Integer({ description: 'grows from event to event' }),
  type: Type.Enum([...EVENT_TYPES]),
  camera: Type.String(),
  time: Time,
  track: Type.Optional(Type.String({ description: 'one appearance of one face' })),
  person: Type.Optional(PersonName),
  distance: Type.Optional(Distance),
  score: Type.Optional(Score),
  box: Type.Optional(Box),
  frame: Type.Optional(Type.Object({ width: Type.Integer(), height: Type.Integer() })),
  coverage: Type.Optional(Type.Number()),
  reason: Type.Optional(Type.String()),
  snapshot: Type.Boolean({ description: 'whether a picture is kept by now' }),
});

export const Rule = Type.Object({
  name: Type.String(),
  enabled: Type.Boolean(),
  event: Type.Enum([...EVENT_TYPES]),
  people: Type.Optional(Type.Union([Type.Literal('everyone'), Type.Array(Type.String())])),
  cameras: Type.Optional(Type.Array(Type.String())),
  hours: Type.Optional(Type.String()),
  days: Type.Optional(Type.Array(Type.String())),
  maxDistance: Type.Optional(Type.Number()),
  atMost: Type.Optional(Type.Object({ times: Type.Integer(), seconds: Type.Number() })),
  opensDoor: Type.Boolean({ description: 'whether it may open a door' }),
  validFor: Type.Number(),
  actions: Type.Array(
    Type.Object({ kind: Type.Enum(['mqtt', 'webhook', 'photo']), target: Type.Optional(Type.String({ description: 'topic or webhook' })) }),
  ),
});

export const AuditEntry = Type.Object({
  id: Type.Integer(),
  event: Type.String(),
  sequence: Type.Integer(),
  rule: Type.String(),
  action: Type.Integer(),
  kind: Type.String(),
  camera: Type.String(),
  person: Type.Union([Type.String(), Type.Null()]),
  state: Type.Enum(['pending', 'started', 'done', 'failed', 'unknown', 'expired']),
  detail: Type.Union([Type.String(), Type.Null()]),
  created: Time,
  changed: Time,
});

export const Readiness = Type.Object({
  ready: Type.Boolean(),
  checks: Type.Record(Type.String(), Type.Object({ ok: Type.Boolean(), detail: Type.Optional(Type.String()) })),
});

export const Status = Type.Object({
  version: Type.String(),
  started: Time,
  model: Type.Object({
    recognizer: Type.String(),
    dimension: Type.Integer(),
    threshold: Type.Number(),
    depth: Type.Union([Type.Null(), Type.Object({ seeded: Type.Boolean() })]),
  }),
  people: Type.Integer(),
  events: Type.Integer({ description: 'sequence of the newest event' }),
  owed: Type.Record(Type.String(), Type.Integer(), { description: 'events that a sink has still to be told of' }),
  mqtt: Type.Optional(Type.Object({ connected: Type.Boolean() })),
  memory: Type.Integer({ description: 'resident bytes' }),
  eventLoop: Type.Object({ p99: Type.Number({ description: 'milliseconds of delay, in the last whole minute' }) }),
});

export const Session = Type.Object({
  name: Type.String(),
  scopes: Type.Array(Type.Enum([...SCOPES])),
  open: Type.Boolean({ description: 'no token is needed here' }),
});

export const IdParams = Type.Object({ id: Id });
export const FaceParams = Type.Object({ id: Id, face: Id });
export const NameText = Type.String({ minLength: 1, maxLength: 256, pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f]+$' });

/** A query; what it does not know is refused. */
export function Query<T extends TProperties>(properties: T) {
  return Type.Object(properties, { additionalProperties: false });
}

/** How many to list, and how many without saying. */
export const MOST = 100;
export const Limit = Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: MOST }));

/** What any route may answer besides its own. */
export const failures = { '4xx': Failure, '5xx': Failure };
