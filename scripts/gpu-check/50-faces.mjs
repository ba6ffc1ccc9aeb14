// Faces: the same ones and the same features as on the processor, and how many a second.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
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
  const some = rehearsal ? files.slice(0, 2) : files
  const processor = await FaceRecognizer.load({ model: 'resnet128' })
  const decoder = rehearsal ? 'cpu' : 'cuda'
  const there = (precision, more) => FaceRecognizer.load({ model: 'resnet128', ...on(device, precision), ...more })
  const expected = await Promise.all(some.map((file) => processor.faces(file)))
  for (const [precision, bound] of Object.entries(precisions(rehearsal))) {
    if (precision === 'bf16') continue
    const recognizer = await there(precision, { decoder })
    const found = await Promise.all(some.map((file) => recognizer.faces(file)))
    const counts = (all) => all.map((faces) => faces.length).join(' ')
    verdict(`${precision}, decoded there: faces of each photo`, counts(found) === counts(expected), counts(found), counts(expected))
    const pairs = found.flatMap((faces, i) => expected[i].map((face) => [nearest(faces, face), face])).filter(([near]) => near !== undefined)
    const away = Math.max(...pairs.map(([near, face]) => moved(near, face)))
    verdict(`${precision}, decoded there: boxes and landmarks, in widths of the face`, away <= bound.moved, figure(away), `at most ${bound.moved}`)
    const apart = Math.max(...pairs.map(([near, face]) => distance(near.features, face.features)))
    verdict(`${precision}, decoded there: resnet128 from a picture`, apart <= bound.faces, figure(apart), `at most ${bound.faces}`)
    await recognizer.close()
  }

  const precision = rehearsal ? 'fp32' : 'fp16'
  const recognizer = await there(precision, { decoder })
  const other = await there(precision)
  await damaged(recognizer, processor, some, verdict)
  if (!rehearsal) withoutLibrary(device, verdict)
  const { decode } = load('image')
  const decoded = await Promise.all(some.map((file) => decode(file)))
  /** Microseconds for each, of so many rounds over all of them at once. */
  const each = (pictures, times, look) => async () => {
    const all = Array.from({ length: size(times, 1) }, () => pictures).flat()
    return (await microseconds(() => Promise.all(all.map(look)))) / all.length
  }
  const device60 = { device: each(some, 60, (file) => recognizer.faces(file)), devicePixels: each(decoded, 60, (picture) => other.faces(picture)) }
  await inTurn(device60, size(8, 1), 0) // until whatever number of faces comes together was there in every group before
  const times = await inTurn(
    {
      ...device60,
      decodedHere: each(some, 20, (file) => other.faces(file)),
      decoding: each(some, 20, (file) => decode(file)),
      processor: each(some, 20, (file) => processor.faces(file)),
      processorPixels: each(decoded, 20, (picture) => processor.faces(picture)),
    },
    size(3, 1),
    0, // all of them ran before
  )
  const rate = (all) => figure(1e6 / median(all))
  say(
    `Photos to features with resnet128, decoding included: ${rate(times.device)} a second where the GPU decodes, ${rate(times.decodedHere)} where the ` +
      `processor does for it, ${rate(times.processor)} on the processor alone; decoding alone ${rate(times.decoding)}. Pictures that are decoded already: ` +
      `${rate(times.devicePixels)}, on the processor ${rate(times.processorPixels)}.`,
  )
  const faster = ratio(times.processor, times.device)
  verdict('photos: the processor / the device', rehearsal || faster >= 10, figure(faster), 'at least 10')

  const photos64 = Array.from({ length: size(64, 2) }, (_, i) => some[i % some.length])
  const together = await inTurn(
    {
      sequence: () => microseconds(async () => { for (const photo of photos64) await processor.faces(photo) }),
      together: () => microseconds(() => Promise.all(photos64.map((photo) => processor.faces(photo)))),
    },
    size(3, 1),
    0, // all of them ran before
  )
  const gain = figure(ratio(together.sequence, together.together))
  say(`On this machine's processor ${photos64.length} photos at once are ${gain} times as fast as one after the other.`)
  await Promise.all([processor.close(), recognizer.close(), other.close()])
}

/** nvJPEG is found at run time: here a file of its name that is no library comes first. */
function withoutLibrary(device, verdict) {
  const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-check-'))
  try {
    for (const release of [12, 13]) writeFileSync(join(folder, `libnvjpeg.so.${release}`), '')
    const face = JSON.stringify(fileURLToPath(new URL('../../dist/face', import.meta.url)))
    const options = JSON.stringify({ model: 'resnet128', device, decoder: 'cuda' })
    const script = `require(${face}).FaceRecognizer.load(${options}).then(() => console.log('it loads'), (error) => console.log(error.code))`
    const env = { ...process.env, LD_LIBRARY_PATH: [folder, process.env.LD_LIBRARY_PATH].filter(Boolean).join(delimiter) }
    const code = spawnSync(process.execPath, ['-e', script], { env, encoding: 'utf8' }).stdout.trim()
    verdict('without nvJPEG', code === 'ERR_CUDA_UNAVAILABLE', code, 'ERR_CUDA_UNAVAILABLE')
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const nearest = (faces, face) => [...faces].sort((a, b) => moved(a, face) - moved(b, face))[0]

/** Photos that are cut off, damaged, or cannot be decoded: the processor's decoder says so of each, and so must the GPU's. */
async function damaged(recognizer, processor, files, verdict) {
  const [photo, ...others] = files.map((file) => readFileSync(file))
  const scan = photo.indexOf(Buffer.from([0xff, 0xda])) + 14
  const middle = scan + ((photo.length - scan) >> 1)
  const over = Buffer.from(photo)
  for (let i = 0; i < 500; i++) over[middle + i] = i * 151
  const bad = {
    'cut off, with an end put behind it': Buffer.concat([photo.subarray(0, middle), Buffer.from([0xff, 0xd9])]),
    'with bytes written over': over,
    'without its tables': without(photo, 0xdb),
  }
  const code = (faces) => faces.then(() => 'faces', (error) => error.code)
  for (const [what, bytes] of Object.entries(bad)) {
    const [here, there] = await Promise.all([processor, recognizer].map((each) => code(each.faces(bytes))))
    verdict(`a photo ${what}`, here === 'ERR_IMAGE_DECODE' && there === here, there, here)
  }
  const seven = Array.from({ length: 7 }, (_, i) => others[i % others.length])
  const alone = await Promise.all(seven.map((bytes) => recognizer.faces(bytes)))
  const beside = [...seven.slice(0, 3), bad['without its tables'], ...seven.slice(3)].map((bytes) => recognizer.faces(bytes))
  const codes = await Promise.all(beside.map(code))
  const good = await Promise.all(beside.filter((_, i) => i !== 3))
  const isSame = (faces, others) => faces.length === others.length && faces.every((face) => moved(nearest(others, face), face) < 0.02)
  const measured = `${good.filter((faces, i) => isSame(faces, alone[i])).length}, ${codes[3]}`
  verdict('seven photos beside a wrong one have their faces', measured === '7, ERR_IMAGE_DECODE', measured, '7, ERR_IMAGE_DECODE')
}

/** A JPEG file without its segments of that kind. */
function without(file, kind) {
  const kept = [file.subarray(0, 2)]
  let at = 2
  for (; file[at + 1] !== 0xda; at += 2 + file.readUInt16BE(at + 2)) {
    if (file[at + 1] !== kind) kept.push(file.subarray(at, at + 2 + file.readUInt16BE(at + 2)))
  }
  return Buffer.concat([...kept, file.subarray(at)])
}
