#!/usr/bin/env node
// Makes docs/page.png: the service's page in Chromium, over drawn figures instead of the photos, which are not ours to publish.
// Run `npm run setup` first; then `node scripts/service/picture.mjs`. The service, what it finds and what it tells are real.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { chromium } from 'playwright-core'
import sharp from 'sharp'
import { loadConfig, openLogs, Service } from '../../packages/service/dist/index.js'
import { figure } from '../demo/figure.mjs'
import { findCommand, projectFolder } from '../setup/paths.mjs'
import { film, FRAME } from './film.mjs'

const require = createRequire(import.meta.url)
const { photosFolder } = require('../../dist/models/cache')

const photo = (name) => join(photosFolder(), 'face_recognition', name)
const LOOKS = { door: ['#dfe3f0', '#8f9bbd'], office: ['#f1e5d6', '#c0a27c'] } // behind, figure
const YARD = `<svg xmlns="http://www.w3.org/2000/svg" width="640" height="480"><rect width="640" height="300" fill="#d5e2ea"/>
  <rect y="300" width="640" height="180" fill="#b9c4b1"/><path d="M250 480 L300 300 H340 L430 480Z" fill="#cfc9bd"/>
  <rect x="60" y="170" width="150" height="140" fill="#a3aebb"/><path d="M45 172 L135 110 L225 172Z" fill="#8b97a6"/>
  <circle cx="520" cy="240" r="64" fill="#8fae90"/><rect x="512" y="290" width="16" height="60" fill="#8a7a66"/></svg>`

const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-picture-'))
let service, browser
try {
  const still = async (name) => (await film([{ photo: photo(name), name }], { nobody: 0, moving: 0, staying: 1 }))[0]
  const camera = async (id, jpeg) => {
    mkdirSync(join(folder, id))
    writeFileSync(join(folder, id, 'still.jpg'), jpeg)
    return { id, source: join(folder, id), repeat: true, fps: 5 }
  }
  const file = join(folder, 'serve.yaml')
  const settings = {
    http: { port: 0 },
    data: join(folder, 'data'),
    logs: { level: 'fatal' },
    models: { depth: { weights: 'seeded' } },
    decision: { frames: 2, unknownFrames: 3 },
    cameras: [
      { ...(await camera('door', await still('obama2.jpg'))), name: 'Front door' },
      { ...(await camera('office', await still('biden.jpg'))), name: 'Office' },
      { ...(await camera('drive', await sharp(Buffer.from(YARD)).jpeg().toBuffer())), name: 'Drive', faces: false, depth: true },
    ],
  }
  writeFileSync(file, JSON.stringify(settings))
  const { config } = await loadConfig(file)
  service = await Service.open(config, await openLogs(config.logs))
  const url = await service.start()
  const ask = async (path, body) => {
    const response = await fetch(new URL(path, url), { method: 'POST', body, headers: { 'content-type': 'image/jpeg' } })
    return response.json()
  }
  await ask('v1/people?name=Barack%20Obama', readFileSync(photo('obama.jpg')))

  const figures = {}
  for (const [id, [behind, colour]] of Object.entries(LOOKS)) {
    const { faces } = await ask('v1/faces?maxFaces=1', readFileSync(join(folder, id, 'still.jpg')))
    const svg =
      `<svg xmlns="http://www.w3.org/2000/svg" width="${FRAME.width}" height="${FRAME.height}">` +
      `<rect width="100%" height="100%" fill="${behind}"/>${figure(faces[0].box, FRAME.height, colour)}</svg>`
    figures[id] = await sharp(Buffer.from(svg)).jpeg({ quality: 95 }).toBuffer()
  }

  browser = await chromium.launch({ executablePath: findCommand('chromium'), args: ['--no-sandbox', '--disable-gpu'] })
  const page = await browser.newPage({ viewport: { width: 1280, height: 920 }, colorScheme: 'light', reducedMotion: 'reduce' })
  await page.route('**/v1/cameras/*/frame.jpg', async (route) => {
    const response = await route.fetch()
    const body = figures[new URL(route.request().url()).pathname.split('/')[3]]
    await route.fulfill({ response, ...(body ? { body } : {}) })
  })
  await page.goto(url)
  await page.locator('.face-recognised').waitFor()
  await page.locator('.face-unknown').waitFor()
  await page.locator('.coverage').waitFor()
  await sleep(1500)
  const path = join(projectFolder, 'docs/page.png')
  const { size } = await sharp(await page.screenshot({ fullPage: true })).png({ palette: true, colours: 128, effort: 10 }).toFile(path)
  console.log(`${path}: ${size} bytes`)
} finally {
  await browser?.close()
  await service?.stop()
  rmSync(folder, { recursive: true, force: true })
}
