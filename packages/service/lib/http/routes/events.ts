import { Type } from 'typebox';
import { EVENT_TYPES } from '../../config/schema.js';
import type { ServiceEvent } from '../../store/events.js';
import type { Routes } from '../app.js';
import { HttpError } from '../failures.js';
import { Event, failures, IdParams, Limit, MOST, Query } from '../schemas.js';
import { keepAlive, sendEvent } from '../streams.js';

const config = { scope: 'read' } as const;
const tags = ['events'];
const Sequence = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const REPLAY_PAGE = 200;

export const eventRoutes: Routes = (app, { events, hub, streams }) => {
  app.get(
    '/v1/events',
    {
      config,
      schema: {
        tags,
        summary: 'Events: the newest first, or with `after` the next ones in their order',
        querystring: Query({
          after: Type.Optional(Sequence),
          before: Type.Optional(Sequence),
          camera: Type.Optional(Type.String({ maxLength: 64 })),
          type: Type.Optional(Type.Enum([...EVENT_TYPES])),
          person: Type.Optional(Type.String({ maxLength: 64, description: "a person's id" })),
          limit: Limit,
        }),
        response: { 200: Type.Object({ events: Type.Array(Event) }), ...failures },
      },
    },
    async ({ query }) => ({ events: events.list({ limit: MOST, ...query, newestFirst: query.after === undefined }) }),
  );

  app.get(
    '/v1/events/:id',
    { config, schema: { tags, summary: 'One event', params: IdParams, response: { 200: Event, ...failures } } },
    async ({ params }) => {
      const event = events.find(params.id);
      if (!event) throw new HttpError(404, 'ERR_EVENT_UNKNOWN', 'there is no such event');
      return event;
    },
  );

  app.get(
    '/v1/events/:id/snapshot.jpg',
    {
      config,
      schema: {
        tags,
        summary: 'The face that an event is about, where it was kept',
        params: IdParams,
        response: {
          200: { description: 'the picture', content: { 'image/jpeg': { schema: Type.Unsafe<Buffer>({ 'x-binary': true }) } } },
          ...failures,
        },
      },
    },
    async ({ params }, reply) => {
      const snapshot = events.snapshot(params.id);
      if (!snapshot) throw new HttpError(404, 'ERR_NO_SNAPSHOT', 'there is no such event, or no picture of it');
      return reply.type('image/jpeg').header('cache-control', 'private, max-age=3600').send(snapshot);
    },
  );

  app.get(
    '/v1/events/stream',
    {
      config,
      schema: {
        tags,
        summary: 'Events as they happen: server-sent events, each with its sequence as id; Last-Event-ID or `after` brings what was missed first',
        querystring: Query({ after: Type.Optional(Sequence) }),
        headers: Type.Object({ 'last-event-id': Type.Optional(Type.String({ pattern: '^\\d{1,16}$' })) }),
        response: { 200: { description: 'text/event-stream', content: { 'text/event-stream': { schema: Type.String() } } }, ...failures },
      },
    },
    async (request, reply) => {
      const given = request.headers['last-event-id'];
      // Whoever knows a later one knows it of a database that is gone.
      let sent = Math.min(given !== undefined ? Number(given) : (request.query.after ?? Infinity), events.last);
      const catchUp = () => {
        // From the database, a page at a time as they are read: nothing is missed between replay and now, and nothing piles up.
        while (!response.destroyed && !response.writableNeedDrain) {
          const page = events.list({ after: sent, limit: REPLAY_PAGE });
          for (const event of page) sendEvent(response, { event: event.type, id: event.sequence, data: event });
          sent = page.at(-1)?.sequence ?? sent;
          if (page.length < REPLAY_PAGE) return;
        }
      };
      const onEvent = (_: ServiceEvent) => catchUp();
      const response = streams.begin(request, reply, 'text/event-stream', () => hub.off('event', onEvent));
      hub.on('event', onEvent);
      response.on('drain', catchUp);
      keepAlive(response);
      response.write('retry: 2000\n\n');
      catchUp();
    },
  );
};
