import { parseCookie, stringifySetCookie } from 'cookie';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isIP } from 'node:net';
import type { HttpConfig } from '../config/schema.js';
import type { Scope, TokenInfo } from '../store/tokens.js';
import { FaissVisionError } from '../error.js';
import type { Context } from './context.js';
import { FailureLimit } from './failure-limit.js';
import { HttpError } from './failures.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a token needs for this route; `'open'` needs none. */
    scope?: Scope | 'open';
  }
  interface FastifyRequest {
    token: TokenInfo | undefined;
  }
}

type Listening = Pick<HttpConfig, 'host' | 'trustedProxies'>;

const COOKIE = 'faiss_vision_token';
const SAFE = ['GET', 'HEAD', 'OPTIONS'];

export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase();
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'));
}

/** Whether nobody but this machine's own programs reaches it; a proxy is there for others. */
function isPrivate({ host, trustedProxies }: Listening): boolean {
  return isLoopback(host) && trustedProxies.length === 0;
}

/**
 * @throws ERR_NO_TOKEN where others reach it and there is no token
 */
export function checkListening(http: Listening, { tokens }: Pick<Context, 'tokens'>): void {
  if (isPrivate(http) || tokens.any) return;
  const how = isLoopback(http.host) ? 'through http.trustedProxies' : `at http.host ${http.host}`;
  throw new FaissVisionError(
    'ERR_NO_TOKEN',
    `other machines can reach it ${how}, and there is no token; make one with: faiss-vision serve --config FILE --add-token NAME`,
  );
}

/** Lets through whoever has a token with the route's scope; where nobody else reaches it everybody, while there is no token at all. */
export function authenticate(app: FastifyInstance, { config, tokens }: Pick<Context, 'config' | 'tokens'>): void {
  const failures = new FailureLimit(config.http.failuresPerMinute);
  const alone = isPrivate(config.http);
  app.decorateRequest('token', undefined);

  app.addHook('onRoute', (route) => {
    // The page's files are open; of the API's routes each has to say so.
    const api = route.url.startsWith('/v1') || route.url === '/metrics';
    const scope = route.config?.scope ?? (api ? undefined : 'open');
    if (scope === undefined) throw new Error(`the route ${route.url} says no scope`);
    route.config = { ...route.config, scope };
    if (scope !== 'open' && route.schema) route.schema.security ??= [{ bearer: [scope] }];
  });

  app.addHook('onRequest', async (request) => {
    checkOrigin(request, config.http.origins);
    const scope = request.routeOptions.config?.scope ?? 'open';
    if (alone && !tokens.any) {
      // A page from elsewhere whose name points here (DNS rebinding) has another name in this header.
      if (!isLoopback(request.hostname)) throw new HttpError(403, 'ERR_FORBIDDEN', 'without tokens this service answers to localhost alone');
      return;
    }
    if (scope === 'open') return;
    if (failures.blocked(request.ip)) throw new HttpError(429, 'ERR_TOO_MANY', 'too many wrong tokens; try again in a minute');
    const given = tokenOf(request);
    if (given === undefined) throw new HttpError(401, 'ERR_UNAUTHORIZED', 'a token is missing: Authorization: Bearer TOKEN');
    request.token = tokens.check(given);
    if (!request.token) {
      failures.count(request.ip);
      throw new HttpError(401, 'ERR_UNAUTHORIZED', 'there is no such token');
    }
    if (!request.token.scopes.includes(scope)) throw new HttpError(403, 'ERR_FORBIDDEN', `this token lacks the scope ${scope}`);
  });
}

/** The header with which a browser keeps a token; without one, with which it forgets it. Scripts cannot read it. */
export function sessionCookie(token: string | undefined, secure: boolean): string {
  return stringifySetCookie({
    name: COOKIE,
    value: token ?? '',
    httpOnly: true,
    sameSite: 'strict',
    secure,
    path: '/',
    maxAge: token === undefined ? 0 : 30 * 24 * 3600,
  });
}

function tokenOf({ headers }: FastifyRequest): string | undefined {
  const [, bearer] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
  return bearer ?? (headers.cookie === undefined ? undefined : parseCookie(headers.cookie)[COOKIE]);
}

/** What changes something is taken from this service's own pages and from programs, which send no origin. */
function checkOrigin(request: FastifyRequest, origins: readonly string[]): void {
  const { origin } = request.headers;
  if (origin === undefined || SAFE.includes(request.method) || origins.includes(origin)) return;
  if (URL.canParse(origin) && new URL(origin).host === request.host) return;
  throw new HttpError(403, 'ERR_FORBIDDEN', 'pages of other origins may not do this');
}
