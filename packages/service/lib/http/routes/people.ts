import { Type } from 'typebox';
import type { Routes } from '../app.js';
import { HttpError } from '../failures.js';
import { checkPicture, PICTURE_TYPES, PictureBody } from '../picture-body.js';
import { FaceParams, failures, IdParams, Limit, MOST, NameText, Person, PersonFace, Query } from '../schemas.js';

const config = { scope: 'people' } as const;
const tags = ['people'];
const Enrolled = Type.Object({ person: Person, face: PersonFace, created: Type.Boolean({ description: 'whether the person was new' }) });
const Done = Type.Null({ description: 'done' });

/** The gallery's people. */
export const peopleRoutes: Routes = (app, { people, cameras }) => {
  const nobody = (id: string) => new HttpError(404, 'ERR_PERSON_UNKNOWN', `there is nobody with the id "${id}"`);

  app.get(
    '/v1/people',
    {
      config,
      schema: {
        tags,
        summary: 'People, in the order of their names',
        querystring: Query({
          limit: Limit,
          cursor: Type.Optional(Type.String({ maxLength: 4096, description: 'what the page before gave as next' })),
          search: Type.Optional(Type.String({ maxLength: 256, description: 'names with this in them, accents and case aside; a page may exceed the limit' })),
        }),
        response: { 200: Type.Object({ people: Type.Array(Person), next: Type.Optional(Type.String()) }), ...failures },
      },
    },
    async ({ query }) => {
      const { items, next } = await people.list({ limit: MOST, ...query });
      return { people: items, ...(next === undefined ? {} : { next }) };
    },
  );

  app.get(
    '/v1/people/:id',
    { config, schema: { tags, summary: 'One person with their faces', params: IdParams, response: { 200: Type.Object({ person: Person, faces: Type.Array(PersonFace) }), ...failures } } },
    async ({ params }) => {
      const person = await people.get(params.id);
      if (!person) throw nobody(params.id);
      return { person, faces: await people.faces(params.id) };
    },
  );

  app.patch(
    '/v1/people/:id',
    { config, schema: { tags, summary: 'Give a person another name', params: IdParams, body: Type.Object({ name: NameText }, { additionalProperties: false }), response: { 200: Person, ...failures } } },
    async ({ params, body }) => people.rename(params.id, body.name),
  );

  app.delete('/v1/people/:id', { config, schema: { tags, summary: 'Forget a person with all faces', params: IdParams, response: { 204: Done, ...failures } } }, async ({ params }, reply) => {
    await people.remove(params.id);
    return reply.status(204).send(null);
  });

  app.post(
    '/v1/people',
    {
      config,
      schema: {
        tags,
        summary: 'Enrol a face from a photo; the person of that name is made where there is none',
        consumes: PICTURE_TYPES,
        querystring: Query({ name: NameText }),
        body: PictureBody,
        response: { 201: Enrolled, ...failures },
      },
    },
    async ({ query, body }, reply) => reply.status(201).send(await people.enroll(query.name, checkPicture(body))),
  );

  app.post(
    '/v1/people/from-camera',
    {
      config,
      schema: {
        tags,
        summary: "Enrol the face on a camera's newest frame; where it shows several, none",
        body: Type.Object({ name: NameText, camera: Type.String({ minLength: 1, maxLength: 64 }) }, { additionalProperties: false }),
        response: { 201: Enrolled, ...failures },
      },
    },
    async ({ body }, reply) => {
      const frame = await cameras.get(body.camera)?.jpeg();
      if (!frame) throw new HttpError(404, 'ERR_NO_FRAME', `there is no camera "${body.camera}", or it has no frame yet`);
      return reply.status(201).send(await people.enroll(body.name, frame));
    },
  );

  app.delete(
    '/v1/people/:id/faces/:face',
    { config, schema: { tags, summary: 'Forget one face', params: FaceParams, response: { 204: Done, ...failures } } },
    async ({ params: { id, face } }, reply) => {
      if (!(await people.removeFace(id, face))) throw new HttpError(404, 'ERR_FACE_UNKNOWN', `this person has no face "${face}"`);
      return reply.status(204).send(null);
    },
  );
};
