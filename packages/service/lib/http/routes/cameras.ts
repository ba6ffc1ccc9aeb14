import { Type, type Static } from 'typebox';
import type { CameraPipeline, Live } from '../../pipeline/pipeline.js';
import { withoutPassword } from '../../sources/address.js';
import type { Routes } from '../app.js';
import { HttpError } from '../failures.js';
import { Camera, failures, IdParams, Query } from '../schemas.js';
import { keepAlive, sendEvent } from '../streams.js';

const config = { scope: 'read' } as const;
const tags = ['cameras'];
const Picture = (type: string) => ({ description: 'the picture', content: { [type]: { schema: Type.Unsafe<Buffer>({ 'x-binary': true }) } } });
const BOUNDARY = 'frame';

export const cameraRoutes: Routes = (app, { cameras, hub, streams }) => {
  const find = (id: string) => {
    const camera = cameras.get(id);
    if (!camera) throw new HttpError(404, 'ERR_CAMERA_UNKNOWN', `there is no camera "${id}"`);
    return camera;
  };

  app.get('/v1/cameras', { config, schema: { tags, summary: 'The cameras and how they are', response: { 200: Type.Object({ cameras: Type.Array(Camera) }), ...failures } } }, async () => ({
    cameras: [...cameras.values()].map(describe),
  }));

  app.get('/v1/cameras/:id', { config, schema: { tags, summary: 'One camera', params: IdParams, response: { 200: Camera, ...failures } } }, async ({ params }) => describe(find(params.id)));

  app.get(
    '/v1/cameras/:id/frame.jpg',
    { config, schema: { tags, summary: 'The newest frame that was looked at', params: IdParams, response: { 200: Picture('image/jpeg'), ...failures } } },
    async ({ params }, reply) => {
      const camera = find(params.id);
      const { live } = camera; // of the frame that is asked for in the same moment: the boxes for exactly this picture
      const frame = await camera.jpeg();
      if (!frame) throw new HttpError(404, 'ERR_NO_FRAME', 'there is no frame yet');
      void reply.type('image/jpeg').header('cache-control', 'no-store').header('x-frame', live?.frame ?? 0);
      return reply.send(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength));
    },
  );

  app.get(
    '/v1/cameras/:id/depth.png',
    { config, schema: { tags, summary: 'The newest depth map, 160 x 128', params: IdParams, response: { 200: Picture('image/png'), ...failures } } },
    async ({ params }, reply) => {
      const { map } = find(params.id);
      if (!map) throw new HttpError(404, 'ERR_NO_DEPTH', 'there is no depth map, or none yet');
      return reply.type('image/png').header('cache-control', 'no-store').send(await map.toPng({ colorMap: 'viridis' }));
    },
  );

  app.get(
    '/v1/cameras/:id/stream.mjpg',
    { config, schema: { tags, summary: 'Frames as they are looked at (multipart/x-mixed-replace)', params: IdParams, response: { 200: Picture('multipart/x-mixed-replace'), ...failures } } },
    async (request, reply) => {
      const camera = find(request.params.id);
      let busy = false;
      const send = async () => {
        // A slow reader gets fewer frames, never old ones.
        if (busy || response.writableNeedDrain) return;
        busy = true;
        const jpeg = await camera.jpeg();
        busy = false;
        if (!jpeg || response.destroyed) return;
        response.write(`--${BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: ${jpeg.length}\r\n\r\n`);
        response.write(jpeg);
        response.write('\r\n');
      };
      const onLive = () => void send();
      const response = streams.begin(request, reply, `multipart/x-mixed-replace; boundary=${BOUNDARY}`, () => camera.off('live', onLive));
      camera.on('live', onLive);
      await send();
    },
  );

  app.get(
    '/v1/live',
    {
      config,
      schema: {
        tags,
        summary: 'What the cameras see, as it is seen: server-sent events `live` (a Live each) and `camera` (a Camera whose state changed)',
        querystring: Query({ camera: Type.Optional(Type.String({ maxLength: 2000, description: 'ids with commas between; default all' })) }),
        response: { 200: { description: 'text/event-stream', content: { 'text/event-stream': { schema: Type.String() } } }, ...failures },
      },
    },
    async (request, reply) => {
      const wanted = request.query.camera?.split(',');
      wanted?.forEach(find);
      const onLive = (live: Live) => {
        if (wanted && !wanted.includes(live.camera)) return;
        if (!response.writableNeedDrain) sendEvent(response, { event: 'live', data: live });
      };
      const onCamera = (id: string) => {
        if (!wanted || wanted.includes(id)) sendEvent(response, { event: 'camera', data: describe(find(id)) });
      };
      const response = streams.begin(request, reply, 'text/event-stream', () => hub.off('live', onLive).off('camera', onCamera));
      hub.on('live', onLive).on('camera', onCamera);
      keepAlive(response);
      for (const camera of cameras.values()) {
        onCamera(camera.camera.config.id);
        if (camera.live) onLive(camera.live);
      }
    },
  );
};

function describe({ camera, live, incoming, decoded, analysed, failures: failed }: CameraPipeline): Static<typeof Camera> {
  const { id, name = id, source, faces, depth } = camera.config;
  const { state, reason, since } = camera.status;
  return {
    id,
    name,
    source: withoutPassword(source),
    state,
    ...(reason === undefined ? {} : { reason }),
    since: since.toISOString(),
    faces,
    depth,
    ...(live ? { width: live.width, height: live.height } : {}),
    ...(live?.near === undefined ? {} : { near: live.near, coverage: live.coverage! }),
    frames: { received: camera.received, skipped: camera.skipped, dropped: incoming.dropped + decoded.dropped, analysed, failed },
  };
}
