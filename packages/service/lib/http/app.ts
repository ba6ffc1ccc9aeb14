import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import cors from '@fastify/cors';
import rateLimit from '@fastify/rate-limit';
import serveStatic, { type SetHeadersResponse } from '@fastify/static';
import swagger from '@fastify/swagger';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { Ajv } from 'ajv';
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance, type RawServerDefault } from 'fastify';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { authenticate } from './auth.js';
import { refuseCrowds } from './crowds.js';
import type { Context } from './context.js';
import { HttpError, refuseBroken, tellFailure, tellFailures } from './failures.js';
import { refuseOtherMethods } from './methods.js';
import { documentOf } from './openapi.js';
import { parsePictures } from './picture-body.js';
import { cameraRoutes } from './routes/cameras.js';
import { eventRoutes } from './routes/events.js';
import { healthRoutes } from './routes/health.js';
import { peopleRoutes } from './routes/people.js';
import { pictureRoutes } from './routes/pictures.js';
import { ruleRoutes } from './routes/rules.js';
import { sessionRoutes } from './routes/session.js';
import { Streams } from './streams.js';

export type App = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>;
export type Routes = (app: App, context: Context & { streams: Streams }) => void;

/** Where Vite puts the page; the API runs without it. */
const PAGE = fileURLToPath(new URL('../page', import.meta.url));

/** Everything that the page has comes from here, from files of its own: nothing inline, no other host, no page around it. */
const CONTENT_SECURITY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  // blob: pictures are fetched with the token in a header, and shown from memory.
  "img-src 'self' blob:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** Of every answer. */
const HEADERS = { 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'content-security-policy': CONTENT_SECURITY };

/** Milliseconds that requests under way have once the service ends; Node stops looking after slow ones then. */
const GRACE = 5000;

/** The API and the page. */
export async function buildApp(context: Context): Promise<App> {
  const { config, log, metrics } = context;
  const { tls, maxBody, requestsPerMinute, origins, trustedProxies, connections, slowest } = config.http;
  const server = { maxHeaderSize: 16 * 1024, headersTimeout: (slowest * 1000) / 3, connectionsCheckingInterval: Math.min(5000, slowest * 250) };
  const app = Fastify({
    loggerInstance: log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: maxBody,
    ...(trustedProxies.length > 0 ? { trustProxy: trustedProxies } : {}),
    requestTimeout: slowest * 1000,
    keepAliveTimeout: 10_000,
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    frameworkErrors: tellFailure as never,
    clientErrorHandler: refuseBroken as never,
    routerOptions: { maxParamLength: 200 },
    http: server,
    ...(tls ? { https: { cert: readFileSync(tls.cert), key: readFileSync(tls.key), ...server } } : {}),
  }).withTypeProvider<TypeBoxTypeProvider>() as unknown as App;
  // A query is text; a body says what it means.
  const options = { strict: false, useDefaults: true, validateFormats: false } as const;
  const [exact, coercing] = [new Ajv(options), new Ajv({ ...options, coerceTypes: true })];
  app.setValidatorCompiler(({ schema, httpPart }) => (httpPart === 'body' ? exact : coercing).compile(schema as object));
  const streams = new Streams(config.http.streams);

  refuseCrowds(app.server, connections);
  // First, so that a page of those origins may also read why it was refused.
  if (origins.length > 0) await app.register(cors, { origin: origins, methods: ['GET', 'POST', 'PATCH', 'DELETE'] });
  tellFailures(app as unknown as FastifyInstance);
  parsePictures(app as unknown as FastifyInstance);
  authenticate(app as unknown as FastifyInstance, context);

  app.addHook('onRequest', (request, reply, done) => {
    void reply.headers(HEADERS).header('x-request-id', request.id);
    done();
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    metrics.requests.observe({ method: request.method, route, status: String(reply.statusCode) }, reply.elapsedTime / 1000);
    request.log.debug({ method: request.method, route, status: reply.statusCode, ms: Math.round(reply.elapsedTime) }, 'request');
  });
  app.addHook('preClose', async () => {
    streams.closeAll();
    setTimeout(() => app.server.closeAllConnections(), GRACE).unref();
  });

  await app.register(rateLimit, {
    max: requestsPerMinute,
    timeWindow: 60_000,
    errorResponseBuilder: (_request, { after }) => new HttpError(429, 'ERR_TOO_MANY', `too many requests; try again in ${after}`),
  });
  await app.register(swagger, documentOf(context.version));

  const refuse = refuseOtherMethods(app as unknown as FastifyInstance);
  for (const routes of [pictureRoutes, peopleRoutes, cameraRoutes, eventRoutes, ruleRoutes, healthRoutes, sessionRoutes]) routes(app, { ...context, streams });
  app.get('/v1/openapi.json', { config: { scope: 'open' }, schema: { hide: true } }, async () => app.swagger());
  refuse();
  if (existsSync(PAGE)) {
    // Vite names what is in assets/ by its content; everything else is asked for anew.
    const setHeaders = (response: SetHeadersResponse, path: string) => {
      response.setHeader('cache-control', path.startsWith(join(PAGE, 'assets')) ? 'public, max-age=31536000, immutable' : 'no-cache');
    };
    await app.register(serveStatic, { root: PAGE, prefix: '/', wildcard: false, cacheControl: false, setHeaders });
  }
  await app.ready();
  return app;
}
