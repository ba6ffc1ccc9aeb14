// A small network camera: an MJPEG stream over HTTP that plays frames, the same moment for everybody who watches.
import { createServer } from 'node:http'

/**
 * frames: JPEG pictures
 * options: fps; repeat: from the start again; fromStart: each watcher begins at the first frame
 * Returns { url, close(), drop() }; drop() ends the streams that are open, as a cable that is pulled does.
 */
export async function mjpegServer(frames, { fps = 10, repeat = true, fromStart = false, port = 0 } = {}) {
  const open = new Set()
  const now = () => process.uptime() * 1000 // no test sets this clock
  const begin = now()
  const server = createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'multipart/x-mixed-replace; boundary=frame' })
    const first = fromStart ? now() : begin
    let sent = -1
    const timer = setInterval(
      () => {
        if (!response.socket?.writable) return clearInterval(timer) // not every end is told by 'close'
        const due = Math.floor(((now() - first) * fps) / 1000)
        if (due === sent) return
        sent = due
        if (!repeat && due >= frames.length) return // the camera stays, and shows nothing new
        const jpeg = frames[due % frames.length]
        response.write(`--frame\r\nContent-Type: image/jpeg\r\nContent-Length: ${jpeg.length}\r\n\r\n`)
        response.write(jpeg)
        response.write('\r\n')
      },
      1000 / fps / 4,
    )
    open.add(response)
    response.on('error', () => {})
    response.once('close', () => {
      clearInterval(timer)
      open.delete(response)
    })
  })
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
  const drop = () => open.forEach((response) => response.destroy())
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    drop,
    close() {
      drop()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}
