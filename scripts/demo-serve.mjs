#!/usr/bin/env node
// The service on a made film of the demo's photos, with a camera and a broker of its own: from nothing to names in a browser.
//
//   npm run demo:serve [-- --port 8080] [--depth] [--until-recognised]
//
// --depth: also watches for something near, with seeded weights, so no real depth
// --until-recognised: ends once somebody was recognised and the door opened; for tests
import { createServer } from 'node:net'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { setup } from './setup.mjs'
import { projectFolder } from './setup/paths.mjs'
import { duration, Report } from './setup/report.mjs'

const options = { port: { type: 'string', default: '8080' }, depth: { type: 'boolean' }, 'until-recognised': { type: 'boolean' } }
const values = parsed()
const begin = performance.now()
await checkPort() // before the set-up's minutes, and before another demo's data is removed
await setup({ quiet: true })

// Only now: the set-up installs and compiles what these need.
const { film } = await import('./service/film.mjs')
const { mjpegServer } = await import('./service/mjpeg.mjs')
const { Aedes } = await import('aedes')
const { loadConfig, openLogs, Service } = await import('@faiss-vision/service')
const { photosFolder } = createRequire(import.meta.url)('../dist/models/cache.js')

const DOOR = 'demo/door/open'
const report = new Report({})
let ending
const photo = (name) => join(photosFolder(), 'face_recognition', name)
const step = async (title, work, run) => {
  const progress = report.begin({ title, work })
  try {
    return await run()
  } finally {
    progress.stop()
  }
}

const frames = await step('a film', 'making it', () => film(['obama2.jpg', 'biden.jpg', 'obama3.jpg'].map((name) => ({ name, photo: photo(name) }))))
const camera = await mjpegServer(frames)
const broker = await startBroker()
const service = await step('models', 'loading', startService)
const address = await service.start()
for (const [name, file] of [
  ['Barack Obama', 'obama.jpg'],
  ['Joe Biden', 'biden.jpg'],
])
  await enrol(name, photo(file))

report.line(`  The service runs after ${duration(performance.now() - begin)}:`)
report.line()
report.line(`      ${address}          the page; ${address}/v1/openapi.json describes the API`)
report.line(`      ${broker.url}     the broker; this listens to faiss-vision/# and ${DOOR}`)
report.line()
report.line('  A made camera shows Barack Obama, Joe Biden and nobody in turn. Ctrl+C ends it.')
report.line()
process.once('SIGINT', end).once('SIGTERM', end)

function parsed() {
  try {
    return parseArgs({ options }).values
  } catch (error) {
    process.stderr.write(`demo:serve: ${error.message}\nusage: npm run demo:serve [-- --port N] [--depth] [--until-recognised]\n`)
    process.exit(2)
  }
}

async function checkPort() {
  const probe = createServer()
  try {
    await new Promise((resolve, reject) => probe.once('error', reject).listen(Number(values.port), '127.0.0.1', resolve))
  } catch (error) {
    process.stderr.write(`demo:serve: ${error.message}; choose another port: npm run demo:serve -- --port N\n`)
    process.exit(1)
  }
  await new Promise((resolve) => probe.close(resolve))
}

async function startBroker() {
  const aedes = await Aedes.createBroker()
  const server = createServer(aedes.handle)
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  let opened = 0
  const show = (packet, done) => {
    tell(packet.topic, packet.payload.toString())
    if (packet.topic === DOOR) opened++
    if (opened > 0 && values['until-recognised']) void end()
    done()
  }
  aedes.subscribe('faiss-vision/#', show, () => {})
  aedes.subscribe(DOOR, show, () => {})
  return {
    url: `mqtt://127.0.0.1:${server.address().port}`,
    close: async () => {
      await new Promise((resolve) => aedes.close(resolve))
      server.close()
    },
  }
}

function tell(topic, payload) {
  if (topic === DOOR) return report.line(`  ${topic}: the door opens`)
  if (!topic.endsWith('/events')) return undefined
  const { type, person, time, distance } = JSON.parse(payload)
  const who = person === undefined ? '' : ` ${person.name}`
  return report.line(`  ${topic}: ${type}${who}${distance === undefined ? '' : `, distance ${distance.toFixed(2)}`} (${time.slice(11, 19)})`)
}

async function startService() {
  const folder = join(projectFolder, 'demo-out/serve')
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const file = join(folder, 'faiss-vision.yaml')
  await writeFile(file, configuration())
  const { config } = await loadConfig(file)
  return Service.open(config, await openLogs(config.logs))
}

function configuration() {
  return `# Made by npm run demo:serve.
data: data
models:
  recognizer: { model: resnet128 }${values.depth ? '\n  depth: { weights: seeded, every: 2 }   # made-up weights: no real depth' : ''}
cameras:
  - { id: door, name: Front door, source: "${camera.url}"${values.depth ? ', depth: true' : ''} }
events: { snapshots: true }
mqtt: { url: "${broker.url}" }
rules:
  - name: open-front-door
    people: [Barack Obama]
    cameras: [door]
    atMost: { times: 1, seconds: 5 }
    do: [{ mqtt: { topic: ${DOOR} } }]
http: { port: ${values.port} }
logs: { folder: logs }
`
}

async function enrol(name, path) {
  const body = await readFile(path)
  const response = await fetch(`${address}/v1/people?name=${encodeURIComponent(name)}`, {
    method: 'POST',
    headers: { 'content-type': 'image/jpeg' },
    body,
  })
  if (!response.ok) throw new Error(`${name} was not enrolled: ${await response.text()}`)
}

function end() {
  ending ??= (async () => {
    await service.stop()
    await camera.close()
    await broker.close()
  })()
  return ending
}
