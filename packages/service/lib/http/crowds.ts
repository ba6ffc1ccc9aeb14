import type { Server, Socket } from 'node:net';

const BODY = JSON.stringify({ code: 'ERR_TOO_MANY', message: 'too many connections (http.connections)', requestId: '' });
const HEAD = ['HTTP/1.1 503 Service Unavailable', 'Connection: close', 'Content-Type: application/json', `Content-Length: ${BODY.length}`];
const REFUSAL = `${HEAD.join('\r\n')}\r\n\r\n${BODY}`;

/** Answers a connection too many with 503 and closes it, before anything is read from it. */
export function refuseCrowds(server: Server, most: number): void {
  const open = new Set<Socket>();
  server.prependListener('connection', (socket: Socket) => {
    if (open.size >= most) {
      socket.on('error', () => {});
      socket.end(REFUSAL, () => socket.destroy());
      return;
    }
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
}
