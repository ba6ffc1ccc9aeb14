import type { FastifyInstance } from 'fastify';
import sharp from 'sharp';
import { Type } from 'typebox';
import { HttpError } from './failures.js';

export const PICTURE_TYPES = ['image/jpeg', 'image/png', 'image/webp'];

/** A request's body: the bytes of a picture's file. */
export const PictureBody = Type.Unsafe<Buffer>({ description: "a picture's file: JPEG, PNG or WebP", 'x-binary': true });

export function parsePictures(app: FastifyInstance): void {
  app.addContentTypeParser(PICTURE_TYPES, { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
}

/**
 * Refuses, by its header, a picture that is none or has too many pixels, before memory is taken for it.
 * @throws ERR_IMAGE_EMPTY, ERR_IMAGE_DECODE, ERR_IMAGE_TOO_LARGE
 */
export async function checkPicture(bytes: unknown, maxPixels: number): Promise<Buffer> {
  if (!Buffer.isBuffer(bytes) || bytes.length === 0)
    throw new HttpError(422, 'ERR_IMAGE_EMPTY', 'the body is empty, expected the bytes of a picture');
  const header = await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch(() => undefined);
  if (!header || !['jpeg', 'png', 'webp'].includes(header.format))
    throw new HttpError(422, 'ERR_IMAGE_DECODE', 'the body is no JPEG, PNG or WebP picture');
  const { width, height, pages = 1 } = header;
  if (width * height * pages > maxPixels)
    throw new HttpError(413, 'ERR_IMAGE_TOO_LARGE', `the picture is ${width} x ${height}; the limit is ${maxPixels} pixels`);
  return bytes;
}
