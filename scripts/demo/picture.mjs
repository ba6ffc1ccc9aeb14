#!/usr/bin/env node
// Makes docs/demo.png, the README's picture: what the demo draws, over drawn figures instead of the photos,
// which are not ours to publish. Run `npm run demo` first; then `node scripts/demo/picture.mjs`.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import sharp from 'sharp'
import { projectFolder } from '../setup/paths.mjs'
import { marking } from './draw.mjs'
import { figure } from './figure.mjs'
import { recognise } from './recognise.mjs'

const require = createRequire(import.meta.url)
const { drawFaces } = require('../../dist/image')
const { outline } = require('../../dist/image/text.js')

const PANEL = { width: 300, height: 340 }
const FACE = { width: 124, top: 84 } // each photo is scaled so that its face is as wide, and as far down
const COLOURS = [['#dfe3f0', '#8f9bbd'], ['#d9ebe4', '#7fae9c'], ['#f1e5d6', '#c0a27c']] // behind, figure

const { photos } = await recognise((_, run) => run())
const panels = photos.map(panel)
const page = { width: PANEL.width * panels.length, height: PANEL.height }
const svg =
  `<svg xmlns="http://www.w3.org/2000/svg" width="${page.width}" height="${page.height}">` +
  `${panels.map(({ figure }) => figure).join('')}</svg>`
const canvas = await sharp(Buffer.from(svg)).png().toBuffer()
const drawn = await drawFaces(canvas, panels.map(({ face }) => face))
const path = join(projectFolder, 'docs/demo.png')
// A palette keeps it small enough for a repository.
const { size } = await sharp(drawn).png({ palette: true, colours: 64, effort: 10 }).toFile(path)
console.log(`${path}: ${size} bytes`)

/** One photo's largest face, moved into the i-th panel, and a figure that fits it. */
function panel({ name, faces, decisions }, i) {
  const { box, landmarks, score } = faces[0]
  const scale = FACE.width / box.width
  const [x, y] = [i * PANEL.width + (PANEL.width - FACE.width) / 2, FACE.top]
  const face = {
    box: { x, y, width: FACE.width, height: box.height * scale },
    landmarks: landmarks.map((point) => [x + (point[0] - box.x) * scale, y + (point[1] - box.y) * scale]),
    score,
  }
  return { face: marking(face, decisions[0]), figure: backdrop(face.box, name, i) }
}

function backdrop(box, name, i) {
  const [left, bottom] = [i * PANEL.width, PANEL.height]
  const [behind, colour] = COLOURS[i]
  return (
    `<rect x="${left}" y="0" width="${PANEL.width}" height="${bottom}" fill="${behind}"/>` +
    figure(box, bottom, colour) +
    `<path d="${outline(name).path(left + 14, bottom - 14, 15)}" fill="#fff"/>`
  )
}
