import { Type } from 'typebox';
import { SCOPES } from '../../store/tokens.js';
import type { Routes } from '../app.js';
import { sessionCookie } from '../auth.js';
import { failures, Session } from '../schemas.js';

const tags = ['session'];

/** A browser's way in: its token as a cookie, as pictures and event streams can send no header. */
export const sessionRoutes: Routes = (app, { tokens }) => {
  app.get(
    '/v1/session',
    { config: { scope: 'read' }, schema: { tags, summary: 'Who the token is, and what it may do', response: { 200: Session, ...failures } } },
    async ({ token }) => ({
      name: token?.name ?? 'everybody on this machine',
      scopes: token?.scopes ?? [...SCOPES],
      open: token === undefined,
    }),
  );

  app.post(
    '/v1/session',
    { config: { scope: 'read' }, schema: { tags, summary: 'Keep the token of this request as a cookie', response: { 200: Session, ...failures } } },
    async ({ token, headers, protocol }, reply) => {
      const [, given] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
      if (given !== undefined && tokens.check(given)) void reply.header('set-cookie', sessionCookie(given, protocol === 'https'));
      return { name: token?.name ?? 'everybody on this machine', scopes: token?.scopes ?? [...SCOPES], open: token === undefined };
    },
  );

  app.delete(
    '/v1/session',
    { config: { scope: 'open' }, schema: { tags, summary: 'Forget the cookie', response: { 204: Type.Null(), ...failures } } },
    async ({ protocol }, reply) => reply.status(204).header('set-cookie', sessionCookie(undefined, protocol === 'https')).send(null),
  );
};
