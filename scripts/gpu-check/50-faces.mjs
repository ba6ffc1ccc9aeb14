// Faces: the same ones and the same features as on the processor, and how many a second.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inTurn, median, microseconds, ratio } from '../../bench/measure.mjs'
import { figure, table } from '../../bench/report.mjs'
import { seededFacenet } from '../../bench/seeded.mjs'
import { distance, moved, on, precisions } from './models.mjs'
import { compare } from './vectors.mjs'

export const title = 'Faces'

const golden = (file) => new URL(`../../test/golden/${file}`, import.meta.url)

export async function check(context) {
  const { FaceRecognizer } = context.load('face')
  const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-check-'))
  try {
    const weights = join(folder, 'facenet.safetensors')
    await seededFacenet(weights)
    await results(context, FaceRecognizer, weights)
    await speed(context, FaceRecognizer, weights)
    await kept(context, FaceRecognizer, weights)
    await photos(context, FaceRecognizer)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Two people on grey, from the golden chips, and those chips. */
function pictures() {
  const chips = ['obama.jpg', 'biden.jpg', 'obama3.jpg'].map((name) => readFileSync(golden(`resnet128/${name}.150x150.rgb`)))
  const width = 720
  const height = 300
  const data = new Uint8Array(width * height * 3).fill(128)
  chips.forEach((chip, i) => {
    for (let y = 0; y < 150; y++) data.set(chip.subarray(y * 450, (y + 1) * 450), ((60 + y) * width + 40 + 230 * i) * 3)
  })
  return { chips, picture: { data, width, height, channels: 3 } }
}

async function results({ device, rehearsal, verdict }, FaceRecognizer, weights) {
  const { chips, picture } = pictures()
  const all = Buffer.concat(chips)
  const large = new Uint8Array(160 * 160 * 3 * 2).map((_, i) => (i * 2654435761) >>> 24)
  const processor = await FaceRecognizer.load({ model: 'resnet128' })
  const facenet = await FaceRecognizer.load({ model: 'facenet', weights })
  const expected = { faces: await processor.faces(picture), chips: await processor.embed(all), facenet: await facenet.embed(large) }
  for (const [precision, bound] of Object.entries(precisions(rehearsal))) {
    const recognizer = await FaceRecognizer.load({ model: 'resnet128', ...on(device, precision) })
    const found = await recognizer.faces(picture)
    verdict(`${precision}: faces`, found.length === expected.faces.length, found.length, expected.faces.length)
    if (found.length === expected.faces.length) {
      const away = Math.max(...found.map((face, i) => moved(face, expected.faces[i])))
      verdict(`${precision}: boxes and landmarks, in widths of the face`, away <= bound.moved, figure(away), `at most ${bound.moved}`)
      const apart = Math.max(...found.map((face, i) => distance(face.features, expected.faces[i].features)))
      verdict(`${precision}: resnet128 from a picture`, apart <= bound.faces, figure(apart), `at most ${bound.faces}`)
    }
    const apart = distance(await recognizer.embed(all), expected.chips)
    verdict(`${precision}: resnet128 of chips`, apart <= bound.resnet128, figure(apart), `at most ${bound.resnet128}`)
    const other = await FaceRecognizer.load({ model: 'facenet', weights, ...on(device, precision) })
    const angle = distance(await other.embed(large), expected.facenet)
    verdict(`${precision}: facenet of chips`, angle <= bound.facenet, figure(angle), `at most ${bound.facenet}`)
    await Promise.all([recognizer.close(), other.close()])
  }
  await Promise.all([processor.close(), facenet.close()])
}

async function speed({ device, number, rehearsal, size, load, say, verdict }, FaceRecognizer, weights) {
  const rows = []
  for (const precision of Object.keys(precisions(rehearsal))) {
    const recognizer = await FaceRecognizer.load({ model: 'facenet', weights, ...on(device, precision) })
    const count = size(2048, 4)
    const chips = new Uint8Array(count * 160 * 160 * 3).map((_, i) => i * 7)
    const { time } = await inTurn({ time: () => microseconds(() => recognizer.embed(chips)) }, size(10, 1), size(2, 0))
    const perSecond = count / (median(time) / 1e6)
    rows.push([precision, figure(perSecond)])
    if (precision === 'fp16') verdict('facenet in fp16, faces a second', perSecond >= 10_000, figure(perSecond), 'at least 10,000')
    if (!rehearsal) {
      const { info } = load('info')
      const free = () => info().cuda.devices[number].free
      const before = free()
      for (let i = 0; i < 30; i++) await recognizer.embed(chips)
      const taken = (before - free()) / 2 ** 20
      verdict(`${precision}: 30 times ${count} faces take of the device's memory`, taken <= 2, `${figure(taken)} MiB`, 'at most 2 MiB')
    }
    await recognizer.close()
  }
  say('FaceNet, chips that are cut already, 2,048 in a call:')
  say(table(['', 'faces / s'], rows))
}

/** Features that stay on the device between vision and search, beside those that go through the processor's memory. */
async function kept({ device, number, rehearsal, size, load, say, verdict }, FaceRecognizer, weights) {
  const { Index } = load('ann')
  const { info } = load('info')
  const recognizer = await FaceRecognizer.load({ model: 'facenet', weights, ...on(device, rehearsal ? 'fp32' : 'fp16') })
  const count = size(2048, 4)
  const chips = different(count)
  const index = Index.factory(512, 'IDMap2,Flat', { device })
  const other = Index.factory(512, 'Flat', { device: 'cpu', exact: 'plain' })
  const ids = BigInt64Array.from({ length: count }, (_, i) => BigInt(i))
  const array = await recognizer.embed(chips)
  const features = await recognizer.embed(chips, { keepOnDevice: true })
  await index.add(features, ids)
  await other.add(array)
  const through = await index.search(array, 5)
  for (const [what, place] of [['the index on the device', index], ['one on the processor', other]]) {
    const { ids: others, worst } = compare(await place.search(features, 5), through, 1e-3, 1e-2)
    const measured = `${others} other ids, distances within ${worst.toExponential(1)}`
    verdict(`features kept on the device, searched by ${what}, as through the processor's memory`, others === 0 && worst <= 1e-3, measured, '0, 0.001')
  }
  features.dispose()

  const free = () => (rehearsal ? 0 : info().cuda.devices[number].free)
  const way = (keepOnDevice) => async () => {
    const found = await recognizer.embed(chips, { keepOnDevice })
    await index.search(found, 5)
    if (keepOnDevice) found.dispose()
  }
  const timed = (work) => () => microseconds(work)
  const before = free()
  const times = await inTurn({ kept: timed(way(true)), through: timed(way(false)) }, size(10, 1), size(2, 0))
  const taken = (before - free()) / 2 ** 20
  const took = (all) => `${figure(median(all) / 1000)} ms`
  say(`From ${count} chips to neighbours: features kept on the device ${took(times.kept)}, through the processor's memory ${took(times.through)}.`)
  verdict("features that were given back take of the device's memory", taken <= 64, `${figure(taken)} MiB`, 'at most 64 MiB')
  await Promise.all([recognizer.close(), index.close(), other.close()])
}

/** Chips of 160 x 160 that a network tells apart: waves of another colour, length and direction each. */
function different(count) {
  const size = 160
  const chips = new Uint8Array(count * size * size * 3)
  let at = 0
  for (let i = 0; i < count; i++) {
    const [across, down] = [Math.sin(i) / 4, Math.cos(i * 1.7) / 4]
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const wave = Math.sin(x * across + y * down)
        for (let c = 0; c < 3; c++) chips[at++] = 127 + 127 * wave * Math.sin(i * (c + 1) * 0.37)
      }
    }
  }
  return chips
}

/** From files to features, decoding included. */
async function photos({ device, rehearsal, size, load, say, verdict }, FaceRecognizer) {
  const folder = load('models/cache').photosFolder()
  const { photos: known } = JSON.parse(readFileSync(golden('mtcnn/mtcnn.json'), 'utf8'))
  const files = Object.keys(known).map((name) => join(folder, name)).filter((file) => existsSync(file))
  if (files.length === 0) return say(`There are no photos in ${folder}, so photos were not measured; npm run setup makes them.`)
  const processor = await FaceRecognizer.load({ model: 'resnet128' })
  const recognizer = await FaceRecognizer.load({ model: 'resnet128', ...on(device, rehearsal ? 'fp32' : 'fp16') })
  const { decode } = load('image')
  const some = rehearsal ? files.slice(0, 2) : files
  const decoded = await Promise.all(some.map((file) => decode(file)))
  const all = (pictures, recognizer) => () => microseconds(() => Promise.all(repeated(pictures).map((picture) => recognizer.faces(picture))))
  const repeated = (pictures) => Array.from({ length: size(20, 1) }, () => pictures).flat()
  const times = await inTurn(
    {
      processor: all(some, processor),
      device: all(some, recognizer),
      decoding: () => microseconds(() => Promise.all(repeated(some).map((file) => decode(file)))),
      processorPixels: all(decoded, processor),
      devicePixels: all(decoded, recognizer),
    },
    size(3, 1),
    size(1, 0),
  )
  const rate = (all) => figure(repeated(some).length / (median(all) / 1e6))
  say(
    `Photos to features with resnet128, decoding included: ${rate(times.device)} a second, on the processor ${rate(times.processor)}; ` +
      `decoding alone ${rate(times.decoding)}. Pictures that are decoded already: ${rate(times.devicePixels)}, on the processor ${rate(times.processorPixels)}.`,
  )
  const faster = ratio(times.processor, times.device)
  verdict('photos: the processor / the device', rehearsal || faster >= 10, figure(faster), 'at least 10')
  await Promise.all([processor.close(), recognizer.close()])
}
