#!/usr/bin/env node
// The service: from a frame to the event at a subscriber, many cameras beside one another, what HTTP costs, and a soak.
//
//   npm run bench:service [-- --minutes 10] [--only latency,http,cameras,soak] [--json]
//
// Uses Debian's mosquitto. An event has the time at which the service took over the frame that decided; the first figure is from
// there to the subscriber.
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { connectAsync } from 'mqtt'
import { film } from '../scripts/service/film.mjs'
import { mjpegServer } from '../scripts/service/mjpeg.mjs'

const require = createRequire(import.meta.url)
const { photosFolder } = require('../dist/models/cache.js')

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '0.5' }, only: { type: 'string', default: 'latency,http,cameras,soak' }, json: { type: 'boolean' } },
})
const wanted = values.only.split(',')
const photo = (name) => join(photosFolder(), 'face_recognition', name)
const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-bench-'))
const results = {}
const stops = []
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]
const quantile = (list, q) => list.toSorted((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * q))]

async function freePort() {
  const server = createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

async function startBroker() {
  const port = await freePort()
  const file = join(folder, 'mosquitto.conf')
  writeFileSync(file, `listener ${port} 127.0.0.1\nallow_anonymous true\n${process.getuid() === 0 ? 'user root\n' : ''}`)
  const child = spawn('mosquitto', ['-c', file], { stdio: 'ignore', env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } })
  stops.push(() => child.kill())
  for (let i = 0; ; i++) {
    const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0 }).catch(() => undefined)
    if (client) return { url: `mqtt://127.0.0.1:${port}`, client }
    if (i > 100) throw new Error('mosquitto does not answer')
    await sleep(100)
  }
}

async function startService(config) {
  const file = join(folder, `serve-${Math.random().toString(36).slice(2)}.yaml`)
  writeFileSync(file, JSON.stringify({ data: `${file}.data`, http: { port: 0, requestsPerMinute: 1e6 }, ...config }))
  const main = new URL('../dist/cli/main.js', import.meta.url).pathname
  // As the systemd unit and the image start it.
  const env = { ...process.env, MALLOC_ARENA_MAX: '2' }
  const child = spawn(process.execPath, [main, 'serve', '--config', file], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = new Promise((resolve) => child.once('close', resolve))
  const url = await new Promise((resolve, reject) => {
    let text = ''
    child.stderr.on('data', (data) => {
      text += data
      const found = /serves at (\S+)/.exec(text)
      if (found) resolve(found[1])
    })
    void ended.then(() => reject(new Error(text)))
  })
  const stop = async () => {
    child.kill('SIGTERM')
    await ended
  }
  stops.push(() => child.kill('SIGKILL'))
  const enrol = async (name, file) => {
    const response = await fetch(`${url}/v1/people?name=${name}`, {
      method: 'POST',
      headers: { 'content-type': 'image/jpeg' },
      body: readFileSync(photo(file)),
    })
    if (!response.ok) throw new Error(await response.text())
  }
  return { url, stop, enrol, pid: child.pid, get: async (path) => (await fetch(url + path)).json() }
}

/** From the frame that decides, as the service took it over, to the event at a subscriber: Obama comes every two seconds. */
async function latency(broker) {
  const frames = await film([{ name: 'obama2.jpg', photo: photo('obama2.jpg') }], { moving: 2, staying: 8, nobody: 8 })
  const camera = await mjpegServer(frames, { fps: 10 })
  const service = await startService({ mqtt: { url: broker.url }, cameras: [{ id: 'door', source: camera.url }], decision: { leftAfter: 0.4 } })
  await service.enrol('Obama', 'obama.jpg')
  const times = []
  const listen = (topic, payload) => {
    if (!topic.endsWith('/events')) return
    const event = JSON.parse(payload)
    if (event.type === 'recognised') times.push(Date.now() - Date.parse(event.time))
  }
  broker.client.on('message', listen)
  await broker.client.subscribeAsync('faiss-vision/cameras/+/events', { qos: 1 })
  while (times.length < 30) await sleep(200)
  broker.client.off('message', listen)
  await service.stop()
  await camera.close()
  return { events: times.length, median: median(times), p95: quantile(times, 0.95) }
}

/** Sixteen cameras of the same film: frames that each had looked at, and the smallest and largest share. */
async function cameras() {
  const frames = await film(['obama2.jpg', 'biden.jpg'].map((name) => ({ name, photo: photo(name) })))
  const camera = await mjpegServer(frames, { fps: 10 })
  const ids = Array.from({ length: 16 }, (_, i) => `camera-${i}`)
  const service = await startService({ cameras: ids.map((id) => ({ id, source: camera.url })) })
  await sleep(3000)
  const before = (await service.get('/v1/cameras')).cameras
  const begin = performance.now()
  await sleep(20_000)
  const after = (await service.get('/v1/cameras')).cameras
  const seconds = (performance.now() - begin) / 1000
  await service.stop()
  await camera.close()
  const counts = after.map(({ frames }, i) => frames.analysed - before[i].frames.analysed)
  const sum = counts.reduce((a, b) => a + b, 0)
  return { framesPerSecond: sum / seconds, smallestShare: Math.min(...counts) / sum, largestShare: Math.max(...counts) / sum, evenShare: 1 / 16 }
}

/** One connection that stays open. Node's own client takes as long as the service's part of HTTP does, so this is a bare one. */
async function connectTo({ hostname, port, host }) {
  const socket = connect({ host: hostname, port, noDelay: true })
  await once(socket, 'connect')
  let received = ''
  let answered
  socket.setEncoding('utf8').on('data', (text) => {
    received += text
    const [head, body] = received.split('\r\n\r\n')
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1])
    if (body === undefined || Buffer.byteLength(body) < length) return
    received = ''
    answered(JSON.parse(body))
  })
  return {
    post(path, type, body) {
      const answer = new Promise((resolve) => (answered = resolve))
      socket.cork()
      socket.write(`POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n`)
      socket.write(body)
      socket.uncork()
      return answer
    },
    close: () => socket.destroy(),
  }
}

/**
 * identify of one photo by the library and over HTTP, in turn, so that both have the same machine: the library in a process of its own,
 * the service in another, and this one as a client that keeps its connection. Both are warm, as in a service that has run for a while.
 */
async function http() {
  const names = ['obama2.jpg', 'obama.jpg', 'biden.jpg']
  const service = await startService({})
  await service.enrol('Obama', 'obama.jpg')
  const env = { ...process.env, MALLOC_ARENA_MAX: '2' } // as the service
  const library = fork(new URL('service_library.mjs', import.meta.url), [folder, photo('obama.jpg'), ...names.map(photo)], { env })
  stops.push(() => library.kill())
  const answer = async () => (await once(library, 'message'))[0]
  await answer()
  const connection = await connectTo(new URL(service.url))
  const photos = []
  for (const [place, name] of names.entries()) {
    const body = readFileSync(photo(name))
    const ways = {
      library: () => {
        library.send(place)
        return answer()
      },
      http: async () => {
        const begin = performance.now()
        const { faces } = await connection.post('/v1/identify', 'image/jpeg', body)
        if (!(faces?.length > 0)) throw new Error('nobody is there')
        return performance.now() - begin
      },
    }
    const times = { library: [], http: [] }
    const [warm, rounds] = place === 0 ? [200, 300] : [5, 100]
    for (let i = 0; i < warm + rounds; i++) {
      for (const [way, call] of Object.entries(ways)) {
        const time = await call()
        if (i >= warm) times[way].push(time)
      }
    }
    const [alone, over] = [median(times.library), median(times.http)]
    photos.push({ name, library: alone, http: over, ratio: over / alone })
  }
  connection.close()
  library.kill()
  await service.stop()
  return { photos }
}

/** One camera for a while: the memory in the first fifth and in the last, and the event loop's delay in the worst minute. */
async function soak(broker, minutes) {
  const frames = await film(['obama2.jpg', 'biden.jpg'].map((name) => ({ name, photo: photo(name) })))
  const camera = await mjpegServer(frames, { fps: 10 })
  const service = await startService({ mqtt: { url: broker.url }, cameras: [{ id: 'door', source: camera.url }], events: { snapshots: true } })
  await service.enrol('Obama', 'obama.jpg')
  const end = performance.now() + minutes * 60_000
  const samples = []
  while (performance.now() < end) {
    await sleep(Math.min(5000, minutes * 6000))
    const { memory, eventLoop } = await service.get('/v1/status')
    samples.push({ seconds: minutes * 60 - (end - performance.now()) / 1000, memory, p99: eventLoop.p99 })
  }
  await service.stop()
  await camera.close()
  // From the second minute on it is told of the last whole one.
  const whole = samples.filter(({ seconds }) => seconds > 65)
  const early = samples.slice(0, Math.max(1, Math.floor(samples.length / 5))).map(({ memory }) => memory)
  const late = samples.slice(-Math.max(1, Math.floor(samples.length / 5))).map(({ memory }) => memory)
  return {
    minutes,
    memoryEarly: median(early) / 2 ** 20,
    memoryLate: median(late) / 2 ** 20,
    eventLoopP99: Math.max(...(whole.length > 0 ? whole : samples.slice(-1)).map(({ p99 }) => p99)),
  }
}

try {
  const broker = await startBroker()
  stops.push(() => broker.client.end(true))
  const percent = (share) => `${(100 * share).toFixed(1)} %`
  const parts = {
    latency: [() => latency(broker), (r) => `frame to event at a subscriber, ms: median ${r.median}, 95th percentile ${r.p95} (${r.events} events)`],
    http: [
      http,
      ({ photos }) =>
        photos
          .map((r) => `identify of ${r.name}, ms: library ${r.library.toFixed(1)}, HTTP ${r.http.toFixed(1)}: ${r.ratio.toFixed(3)} times`)
          .join('\n'),
    ],
    cameras: [
      cameras,
      (r) =>
        `16 cameras: ${r.framesPerSecond.toFixed(1)} frames a second; shares ${percent(r.smallestShare)} to ${percent(r.largestShare)} (even: ${percent(r.evenShare)})`,
    ],
    soak: [
      () => soak(broker, Number(values.minutes)),
      (r) =>
        `${r.minutes} min of one camera: memory ${r.memoryEarly.toFixed(0)} MiB, then ${r.memoryLate.toFixed(0)} MiB; event loop p99 ${r.eventLoopP99.toFixed(1)} ms`,
    ],
  }
  for (const [name, [measure, line]] of Object.entries(parts)) {
    if (!wanted.includes(name)) continue
    results[name] = await measure()
    if (!values.json) console.log(line(results[name]))
  }
  if (values.json) console.log(JSON.stringify(results))
} finally {
  for (const stop of stops) await stop()
}
