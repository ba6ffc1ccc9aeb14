import { Type } from 'typebox';
import type { Routes } from '../app.js';
import { failures, Readiness, Status } from '../schemas.js';

const tags = ['health'];

export const healthRoutes: Routes = (app, context) => {
  const { config, db, recognizer, depth, cameras, mqtt, events, people, metrics } = context;

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
      const database = answers(() => db.prepare('SELECT 1').get());
      // A camera or a broker that is away is told of, and no reason to send nobody here any more.
      const checks = { database, models: { ok: context.ready() } };
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

function answers(check: () => unknown): { ok: boolean; detail?: string } {
  try {
    check();
    return { ok: true };
  } catch (error) {
    return { ok: false, detail: (error as Error).message };
  }
}
