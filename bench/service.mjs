#!/usr/bin/env node
// The service: from a frame to the event at a subscriber, many cameras beside one another, what HTTP costs, and a soak.
//
//   npm run bench:service [-- --minutes 10 [--cameras 16] [--fps 40]] [--only latency,http,cameras,soak] [--json]
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
import sharp from 'sharp'
import { film } from '../scripts/service/film.mjs'
import { mjpegServer } from '../scripts/service/mjpeg.mjs'

const require = createRequire(import.meta.url)
const { photosFolder } = require('../dist/models/cache.js')

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '0.5' },
    cameras: { type: 'string', default: '1' },
    fps: { type: 'string', default: '10' },
    only: { type: 'string', default: 'latency,http,cameras,soak' },
    json: { type: 'boolean' },
  },
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

/** @returns the file of a configuration */
function configure(config) {
  const file = join(folder, `serve-${Math.random().toString(36).slice(2)}.yaml`)
  writeFileSync(file, JSON.stringify({ data: `${file}.data`, http: { port: 0, requestsPerMinute: 1e6 }, ...config }))
  return file
}

async function enrol(url, name, file) {
  const headers = { 'content-type': 'image/jpeg' }
  const response = await fetch(`${url}/v1/people?name=${name}`, { method: 'POST', headers, body: readFileSync(photo(file)) })
  if (!response.ok) throw new Error(await response.text())
}

async function startService(config) {
  const main = new URL('../dist/cli/main.js', import.meta.url).pathname
  // As the systemd unit and the image start it.
  const env = { ...process.env, MALLOC_ARENA_MAX: '2' }
  const child = spawn(process.execPath, [main, 'serve', '--config', configure(config)], { env, stdio: ['ignore', 'ignore', 'pipe'] })
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
  return { url, stop, pid: child.pid, enrol: (name, file) => enrol(url, name, file), get: async (path) => (await fetch(url + path)).json() }
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

/**
 * One connection that stays open. Node's own client takes as long as the service's part of HTTP does, so this is a bare one; its clock
 * runs from a request's first byte to the last one of the answer, before that is looked at.
 */
async function connectTo({ hostname, port, host }) {
  const socket = connect({ host: hostname, port, noDelay: true })
  await once(socket, 'connect')
  let received = ''
  let answered
  socket.on('data', (bytes) => {
    const now = performance.now()
    received += bytes
    const [head, body] = received.split('\r\n\r\n')
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1])
    if (body === undefined || Buffer.byteLength(body) < length) return
    received = ''
    answered({ now, ...JSON.parse(body) })
  })
  return {
    /** @returns a function that asks with this body, and gives the answer with its milliseconds */
    poster(path, type, body) {
      const head = `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n`
      const request = Buffer.concat([Buffer.from(head), body])
      return async () => {
        const answer = new Promise((resolve) => (answered = resolve))
        const begin = performance.now()
        socket.write(request)
        const { now, ...said } = await answer
        return { ms: now - begin, ...said }
      }
    },
    close: () => socket.destroy(),
  }
}

/**
 * Requests before the first that counts, each of a small picture without a face in as many bytes as a photo has: V8 has compiled by then
 * what each of them goes through, as in a service that runs for a while.
 */
const WARM = 12_000
const SMALL = { width: 64, height: 64, channels: 3, background: '#808080' }

/** Milliseconds before each identify: it takes longer after a rest, and over HTTP there always is one, while the photo comes. */
const REST = 5

/**
 * identify of one photo by the library and over HTTP, in turn and each first as often as the other, in one process with one set of models:
 * two processes with the same models differ by more than HTTP costs, by where in memory they happen to lie. This process is a client that
 * keeps its connection. As identify itself takes now longer and now shorter, what a request takes beside it is told as well.
 */
async function http() {
  const names = ['obama2.jpg', 'obama.jpg', 'biden.jpg']
  const env = { ...process.env, MALLOC_ARENA_MAX: '2' } // as startService
  const stdio = ['ignore', 'ignore', 'inherit', 'ipc']
  const service = fork(new URL('service_library.mjs', import.meta.url), [configure({}), ...names.map(photo)], { env, stdio })
  stops.push(() => service.kill('SIGKILL'))
  const answer = async () => (await once(service, 'message'))[0]
  const { url } = await answer()
  await enrol(url, 'Obama', 'obama.jpg')
  const connection = await connectTo(new URL(url))
  const post = (body) => connection.poster('/v1/identify', 'image/jpeg', body)
  const small = await sharp({ create: SMALL }).jpeg().toBuffer()
  const warmUp = post(Buffer.concat([small, Buffer.alloc(200_000 - small.length)]))
  for (let i = 0; i < WARM; i++) if ((await warmUp()).faces?.length !== 0) throw new Error('a grey picture was refused, or has a face')
  const photos = []
  for (const [place, name] of names.entries()) {
    const ask = (what) => {
      service.send(what)
      return answer()
    }
    const request = post(readFileSync(photo(name)))
    const times = { library: [], within: [], http: [] }
    const calls = [
      async () => {
        const { ms, faces } = await ask(place)
        times.library.push(ms)
        return faces
      },
      async () => {
        const { ms, faces } = await request()
        times.http.push(ms)
        times.within.push((await ask('took')).ms)
        return faces?.length
      },
    ]
    const [warm, rounds] = place === 0 ? [100, 400] : [6, 300]
    for (let i = 0; i < warm + rounds; i++) {
      if (i === warm) for (const list of Object.values(times)) list.length = 0
      const faces = []
      for (const call of calls) {
        await sleep(REST)
        faces.push(await call())
      }
      if (!(faces[0] > 0 && faces[0] === faces[1])) throw new Error(`not the same faces in ${name}`)
      calls.reverse()
    }
    const [alone, over] = [median(times.library), median(times.http)]
    // Of calls side by side, since the machine is now quicker and now slower.
    const ratio = median(times.http.map((ms, i) => ms / times.library[i]))
    const added = median(times.http.map((ms, i) => ms - times.within[i]))
    photos.push({ name, library: alone, http: over, ratio, added, share: added / median([...times.library, ...times.within]) })
  }
  connection.close()
  service.kill('SIGTERM')
  await once(service, 'exit')
  return { photos }
}

/** Seconds after the start that are not compared: V8 compiles, and gives back the memory that starting took. */
const SETTLING = 120

/** Cameras for a while, one unless told: memory once it has settled and at the end, its curve, and the event loop's delay in the worst minute. */
async function soak(broker, minutes, count, fps) {
  const frames = await film(['obama2.jpg', 'biden.jpg'].map((name) => ({ name, photo: photo(name) })))
  const camera = await mjpegServer(frames, { fps })
  const cameras = Array.from({ length: count }, (_, i) => ({ id: `camera-${i}`, source: camera.url, fps }))
  const service = await startService({ mqtt: { url: broker.url }, cameras, events: { snapshots: true } })
  await service.enrol('Obama', 'obama.jpg')
  const begin = performance.now()
  const samples = []
  while (performance.now() < begin + minutes * 60_000) {
    await sleep(Math.min(5000, minutes * 6000))
    const { memory, eventLoop } = await service.get('/v1/status')
    samples.push({ seconds: (performance.now() - begin) / 1000, memory: memory / 2 ** 20, p99: eventLoop.p99 })
  }
  await service.stop()
  await camera.close()
  const minuteOf = ({ seconds }) => Math.floor(seconds / 60)
  const memory = (list) => median(list.map((sample) => sample.memory))
  const settled = samples.filter(({ seconds }) => seconds > Math.min(SETTLING, minutes * 12))
  const fifth = Math.max(1, Math.floor(settled.length / 5))
  const [early, late] = [memory(settled.slice(0, fifth)), memory(settled.slice(-fifth))]
  // From the second minute on the delay is that of the last whole one.
  const whole = samples.filter(({ seconds }) => seconds > 65)
  return {
    minutes,
    cameras: count,
    fps,
    early,
    late,
    growth: late / early - 1,
    eachMinute: [...new Set(samples.map(minuteOf))].map((minute) => memory(samples.filter((sample) => minuteOf(sample) === minute))),
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
          .map(
            (r) =>
              `identify of ${r.name}, ms: library ${r.library.toFixed(1)}, HTTP ${r.http.toFixed(1)}: ${r.ratio.toFixed(3)} times; ` +
              `of a request ${r.added.toFixed(2)} are not identify, ${percent(r.share)} of it`,
          )
          .join('\n'),
    ],
    cameras: [
      cameras,
      (r) =>
        `16 cameras: ${r.framesPerSecond.toFixed(1)} frames a second; shares ${percent(r.smallestShare)} to ${percent(r.largestShare)} (even: ${percent(r.evenShare)})`,
    ],
    soak: [
      () => soak(broker, Number(values.minutes), Number(values.cameras), Number(values.fps)),
      (r) =>
        `${r.minutes} min of ${r.cameras} camera(s), ${r.fps} frames a second: memory ${r.early.toFixed(0)} MiB once settled, ${r.late.toFixed(0)} at the end: ` +
        `${r.growth < 0 ? '' : '+'}${percent(r.growth)}; event loop p99 ${r.eventLoopP99.toFixed(1)} ms\n` +
        `  MiB, minute by minute: ${r.eachMinute.map((m) => m.toFixed(0)).join(' ')}`,
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
