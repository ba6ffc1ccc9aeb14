import { Type } from 'typebox';
import { messageOf } from '../../error.js';
import { tryWriting } from '../../store/database.js';
import type { Routes } from '../app.js';
import { failures, Readiness, Status } from '../schemas.js';

const tags = ['health'];
/** Milliseconds from one try to write to the next at the earliest, however often somebody asks. */
const TRY_AGAIN = 2000;

export const healthRoutes: Routes = (app, context) => {
  const { config, db, recognizer, depth, cameras, mqtt, events, people, metrics, recorder } = context;
  let tried: { at: number; refusal: string | undefined } | undefined;
  const refusal = () => {
    if (!tried || performance.now() - tried.at >= TRY_AGAIN) tried = { at: performance.now(), refusal: refusalOf(() => tryWriting(db)) };
    return tried.refusal;
  };
  const database = () => {
    const { waiting } = recorder;
    if (waiting) return { ok: false, detail: `it takes no events, ${waiting.count} wait: ${waiting.reason}` };
    const detail = refusal();
    return detail === undefined ? { ok: true } : { ok: false, detail: `it cannot be written: ${detail}` };
  };

  app.get(
    '/v1/health',
    {
      config: { scope: 'open' },
      schema: { tags, summary: 'Whether the service runs at all', response: { 200: Type.Object({ status: Type.Literal('ok') }), ...failures } },
    },
    async () => ({
      status: 'ok' as const,
    }),
  );

  app.get(
    '/v1/ready',
    {
      config: { scope: 'open' },
      schema: { tags, summary: 'Whether it can do its work; 503 where it cannot', response: { 200: Readiness, 503: Readiness, ...failures } },
    },
    async (_, reply) => {
      // A camera or a broker that is away is told of, and no reason to send nobody here any more.
      const checks = { database: database(), models: { ok: context.ready() } };
      const ready = Object.values(checks).every(({ ok }) => ok);
      return reply.status(ready ? 200 : 503).send({ ready, checks });
    },
  );

  app.get(
    '/v1/status',
    { config: { scope: 'read' }, schema: { tags, summary: 'The service in figures', response: { 200: Status, ...failures } } },
    async () => {
      const owed = events.owed();
      return {
        version: context.version,
        started: context.started.toISOString(),
        model: {
          recognizer: config.models.recognizer.model,
          dimension: recognizer.dimension,
          threshold: config.decision.threshold ?? recognizer.threshold,
          depth: depth ? { seeded: depth.seeded } : null,
        },
        people: await people.count(),
        events: events.last,
        owed,
        ...(mqtt ? { mqtt: { connected: mqtt.connected } } : {}),
        memory: process.memoryUsage.rss(),
        eventLoop: { p99: context.eventLoopDelay() },
      };
    },
  );

  app.get(
    '/metrics',
    {
      config: { scope: 'metrics' },
      schema: {
        tags,
        summary: 'For Prometheus',
        response: { 200: { description: 'the metrics', content: { 'text/plain': { schema: Type.String() } } }, ...failures },
      },
    },
    async (_, reply) => reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );

  metrics.asked('gauge', 'faiss_vision_camera_live', 'Whether a camera is live', ['camera'], (set) => {
    for (const [camera, { camera: source }] of cameras) set({ camera }, source.status.state === 'live' ? 1 : 0);
  });
  metrics.asked('counter', 'faiss_vision_camera_frames_total', 'Frames of a camera since the start, by what became of them', ['camera', 'fate'], (set) => {
    for (const [camera, { camera: source, incoming, decoded, analysed, failures: failed }] of cameras) {
      const fates = { received: source.received, skipped: source.skipped, dropped: incoming.dropped + decoded.dropped, analysed, failed };
      for (const [fate, count] of Object.entries(fates)) set({ camera, fate }, count);
    }
  });
  metrics.asked('gauge', 'faiss_vision_camera_share', 'Share of all frames that were looked at which were this camera’s', ['camera'], (set) => {
    const all = [...cameras.values()].reduce((sum, { analysed }) => sum + analysed, 0);
    for (const [camera, { analysed }] of cameras) set({ camera }, all === 0 ? 0 : analysed / all);
  });
  metrics.asked('gauge', 'faiss_vision_outbox', 'Events that a sink has still to be told of', ['sink'], (set) => {
    for (const [sink, count] of Object.entries(events.owed())) set({ sink }, count);
  });
};

/** Why something fails, if it does. */
function refusalOf(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}
