import { Type } from 'typebox';
import type { Routes } from '../app.js';
import { checkPicture, PICTURE_TYPES, PictureBody } from '../picture-body.js';
import { Depth, DetectedFace, EmbeddedFace, failures, IdentifiedFace, IdParams, Query, Verification } from '../schemas.js';
import { HttpError } from '../failures.js';

const about = (summary: string) => ({ tags: ['pictures'], summary, consumes: PICTURE_TYPES, body: PictureBody });
const recognise = { scope: 'recognise' } as const;
const MaxFaces = Query({ maxFaces: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'the largest so many' })) });

/** What a picture that is sent shows. */
export const pictureRoutes: Routes = (app, { config, recognizer, people, depth }) => {
  app.post(
    '/v1/faces',
    {
      config: recognise,
      schema: {
        ...about('The faces in a picture'),
        querystring: MaxFaces,
        response: { 200: Type.Object({ faces: Type.Array(DetectedFace) }), ...failures },
      },
    },
    async ({ body, query }) => {
      const faces = await recognizer.faces(checkPicture(body), query);
      return { faces: faces.map(({ box, score, landmarks }) => ({ box, score, landmarks })) };
    },
  );

  app.post(
    '/v1/embed',
    {
      config: recognise,
      schema: {
        ...about('The features of the faces in a picture'),
        querystring: MaxFaces,
        response: { 200: Type.Object({ model: Type.String(), dimension: Type.Integer(), faces: Type.Array(EmbeddedFace) }), ...failures },
      },
    },
    async ({ body, query }) => {
      const faces = await recognizer.faces(checkPicture(body), query);
      const { dimension } = recognizer;
      return {
        model: config.models.recognizer.model,
        dimension,
        faces: faces.map(({ box, score, features }) => ({ box, score, features: [...features] })),
      };
    },
  );

  app.post(
    '/v1/identify',
    {
      config: recognise,
      schema: {
        ...about('Who is in a picture'),
        querystring: Query({ top: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 1, description: 'most people for each face' })) }),
        response: { 200: Type.Object({ faces: Type.Array(IdentifiedFace) }), ...failures },
      },
    },
    async ({ body, query }) => ({ faces: await people.identify(checkPicture(body), query.top ?? 1) }),
  );

  app.post(
    '/v1/people/:id/verify',
    {
      config: recognise,
      schema: { ...about('Whether a picture shows this person'), params: IdParams, response: { 200: Verification, ...failures } },
    },
    async ({ body, params }) => people.verify(params.id, checkPicture(body)),
  );

  app.post(
    '/v1/depth',
    {
      config: recognise,
      schema: {
        ...about('Whether something in a picture is near, and the map where the request accepts image/png'),
        response: {
          200: {
            description: 'the map, or what it says',
            content: { 'application/json': { schema: Depth }, 'image/png': { schema: Type.Unsafe<Buffer>({ 'x-binary': true }) } },
          },
          ...failures,
        },
      },
    },
    async ({ body, headers }, reply) => {
      if (!depth) throw new HttpError(501, 'ERR_NO_DEPTH', 'there is no depth here: the configuration has no models.depth');
      const map = await depth.estimate(checkPicture(body));
      if (headers.accept?.includes('image/png')) {
        void reply.type('image/png');
        return reply.send(await map.toPng());
      }
      const { near, coverage, width, height, seeded } = map;
      return { near, coverage, width, height, seeded };
    },
  );
};
