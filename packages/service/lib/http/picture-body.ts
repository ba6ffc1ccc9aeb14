import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { HttpError } from './failures.js';

export const PICTURE_TYPES = ['image/jpeg', 'image/png', 'image/webp'];

/** A request's body: the bytes of a picture's file. */
export const PictureBody = Type.Unsafe<Buffer>({ description: "a picture's file: JPEG, PNG or WebP", 'x-binary': true });

export function parsePictures(app: FastifyInstance): void {
  app.addContentTypeParser(PICTURE_TYPES, { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
}

/** How the files of those types begin. */
const BEGINNINGS = [/^\xff\xd8\xff/, /^\x89PNG\r\n\x1a\n/, /^RIFF[^]{4}WEBP/];

/**
 * Refuses what is no picture of these types. What its header says is checked where it is decoded: models and gallery know the limit.
 * @throws ERR_IMAGE_EMPTY, ERR_IMAGE_DECODE
 */
export function checkPicture(bytes: unknown): Buffer {
  if (!Buffer.isBuffer(bytes) || bytes.length === 0)
    throw new HttpError(422, 'ERR_IMAGE_EMPTY', 'the body is empty, expected the bytes of a picture');
  const beginning = bytes.toString('latin1', 0, 12);
  if (!BEGINNINGS.some((each) => each.test(beginning))) throw new HttpError(422, 'ERR_IMAGE_DECODE', 'the body is no JPEG, PNG or WebP picture');
  return bytes;
}
