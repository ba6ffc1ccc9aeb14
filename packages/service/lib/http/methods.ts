import { METHODS } from 'node:http';
import type { FastifyInstance, HTTPMethods } from 'fastify';
import { HttpError } from './failures.js';

/** Collects the routes that come from here on; the function that it returns has each answer 405 to the methods that it lacks. */
export function refuseOtherMethods(app: FastifyInstance): () => void {
  const routes = new Map<string, Set<string>>();
  let collecting = true;
  // Fastify knows eight methods; Node's parser lets some thirty through.
  for (const method of METHODS) if (!app.supportedMethods.includes(method)) app.addHttpMethod(method as HTTPMethods);
  app.addHook('onRoute', ({ url, method }) => {
    if (!collecting) return;
    const methods = routes.get(url) ?? new Set();
    for (const each of [method].flat()) methods.add(each);
    routes.set(url, methods);
  });
  return () => {
    collecting = false;
    for (const [url, methods] of routes) {
      const others = app.supportedMethods.filter((method) => !methods.has(method)) as HTTPMethods[];
      const allow = [...methods].join(', ');
      app.route({
        method: others,
        url,
        config: { scope: 'open' },
        schema: { hide: true },
        // Before anything is said of the body.
        onRequest: async (_, reply) => {
          void reply.header('allow', allow);
          throw new HttpError(405, 'ERR_METHOD', `this takes ${allow}`);
        },
        handler: async () => undefined,
      });
    }
  };
}
