import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger';
import { SCOPES } from '../store/tokens.js';

/** How the OpenAPI 3.1 document is made from the routes' schemas. */
export function documentOf(version: string): FastifyDynamicSwaggerOptions {
  return {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'faiss-vision',
        version,
        description: 'Cameras, faces, people, depth, events and rules of one service.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      components: {
        securitySchemes: { bearer: { type: 'http', scheme: 'bearer', description: `A token with the scope of the operation: ${SCOPES.join(', ')}` } },
      },
    },
    transformObject: (document) => {
      const { openapiObject } = document as { openapiObject: object };
      return binary(openapiObject) as ReturnType<NonNullable<FastifyDynamicSwaggerOptions['transformObject']>>;
    },
  };
}

/** Bytes are a string of the format binary there. */
function binary(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(binary);
  if (typeof value !== 'object' || value === null) return value;
  if ('x-binary' in value) {
    const { 'x-binary': _, ...rest } = value;
    return { type: 'string', format: 'binary', ...rest };
  }
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, binary(each)]));
}
