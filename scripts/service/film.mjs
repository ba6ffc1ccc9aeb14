// A made film of real photos: nobody, somebody comes in, stays and goes, nobody, the next one.
// For the service's demo, its tests and its benchmark.
import sharp from 'sharp'

export const FRAME = { width: 640, height: 480 }
/** Where the face is in each of the demo's photos, in pixels. */
const FACES = {
  'obama.jpg': { x: 375, y: 86, width: 238, height: 335 },
  'obama2.jpg': { x: 192, y: 216, width: 281, height: 417 },
  'obama3.jpg': { x: 634, y: 249, width: 280, height: 363 },
  'biden.jpg': { x: 428, y: 165, width: 287, height: 393 },
}
const CARD_HEIGHT = 340

/**
 * The film's frames as JPEG.
 *
 * visits: [{ photo: path, name: 'obama2.jpg' }], who comes, one after the other
 * times: frames of a way in or out, of a stay, of nobody
 */
export async function film(visits, { moving = 8, staying = 20, nobody = 30 } = {}) {
  const empty = await frame()
  const frames = Array(nobody).fill(empty)
  for (const { photo, name } of visits) {
    const card = await cut(photo, FACES[name])
    const middle = Math.round((FRAME.width - card.width) / 2)
    const from = -card.width
    const at = (i) => Math.round(from + ((middle - from) * i) / moving)
    const way = await Promise.all(Array.from({ length: moving }, (_, i) => frame(card, at(i + 1))))
    const stay = await Promise.all(Array.from({ length: staying }, (_, i) => frame(card, middle + (i % 5) - 2)))
    frames.push(...way, ...stay, ...way.toReversed(), ...Array(nobody).fill(empty))
  }
  return frames
}

/** Head and shoulders. */
async function cut(photo, { x, y, width, height }) {
  const { width: right, height: bottom } = await sharp(photo).metadata()
  const left = Math.max(0, Math.round(x - 0.5 * width))
  const top = Math.max(0, Math.round(y - 0.35 * height))
  const region = {
    left,
    top,
    width: Math.min(right - left, Math.round(2 * width)),
    height: Math.min(bottom - top, Math.round(1.8 * height)),
  }
  const { data, info } = await sharp(photo).extract(region).resize({ height: CARD_HEIGHT }).removeAlpha().png().toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height }
}

/** One picture, the card at this place where it is in the picture at all. */
async function frame(card, left = 0) {
  const wall = sharp({ create: { ...FRAME, channels: 3, background: '#8a9099' } })
  const begin = Math.max(0, left)
  const end = card ? Math.min(FRAME.width, left + card.width) : begin
  if (end > begin) {
    const visible = await sharp(card.data)
      .extract({ left: begin - left, top: 0, width: end - begin, height: card.height })
      .toBuffer()
    wall.composite([{ input: visible, left: begin, top: FRAME.height - card.height }])
  }
  return wall.jpeg({ quality: 90 }).toBuffer()
}
