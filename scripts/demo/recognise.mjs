import { createRequire } from 'node:module'
import { join } from 'node:path'

const require = createRequire(import.meta.url)
const { Ann } = require('../../dist/ann')
const { FaceRecognizer } = require('../../dist/face')
const { photosFolder } = require('../../dist/models/cache.js')

/** Who is known, by the photo that is enrolled. */
export const enrolled = { name: 'Barack Obama', photo: 'obama.jpg' }

/**
 * Runs the main job and its four checks. `step(title, run)` runs one part of it.
 *
 * photos: { name, path, faces, decisions }: each photo's faces, and what the search says of each of them
 * checks: { name, photo, expected, index, found, score, passed }, score as a cosine similarity
 */
export async function recognise(step) {
  const recognizer = await step('load models', () => FaceRecognizer.load({ model: 'resnet128' }))
  const photos = []
  for (const name of ['obama.jpg', 'obama2.jpg', 'biden.jpg']) {
    const path = join(photosFolder(), 'face_recognition', name)
    photos.push({ name, path, faces: await step(name, () => recognizer.faces(path)) })
  }
  const [obama, obama2, biden] = photos

  const threshold = cosineThreshold(recognizer.threshold)
  const people = new Ann({ dimension: recognizer.dimension, metric: 'cosine', threshold })
  const search = async (photo) => (await people.search(person(photo).features))[0]
  const expect = (name, photo, expected, decision, right) => {
    const { index, found, score } = decision
    return { name, photo: photo.name, expected, index, found, score, passed: right(decision) }
  }

  const empty = await step('search, nobody enrolled', () => search(obama))
  const [id] = await step('enrol', () => people.add(person(obama).features))
  const [same, other, stranger] = await step('search, three faces', () => Promise.all([obama, obama2, biden].map(search)))
  const checks = [
    expect('empty', obama, 'not found', empty, (it) => it.index === -1 && !it.found && it.score === null),
    expect('same-photo', obama, 'found', same, (it) => it.found && it.index === id && it.score >= 0.999),
    expect('same-person', obama2, 'found', other, (it) => it.found && it.index === id),
    expect('other-person', biden, 'not found', stranger, (it) => !it.found && it.score < other.score),
  ]
  for (const photo of photos) {
    photo.decisions = await Promise.all(photo.faces.map(async ({ features }) => (await people.search(features))[0]))
  }
  await Promise.all([people.close(), recognizer.close()])
  return { checks, photos, threshold }
}

/** The photo's subject: its largest face, which comes first. */
function person({ path, faces }) {
  if (faces.length === 0) throw new Error(`no face was found in ${path}`)
  return faces[0]
}

/**
 * The recogniser's published threshold is a Euclidean distance (0.6) between descriptors as they come out,
 * and they are all about as long as the square root of 2 (1.37 to 1.41 on these photos). For two vectors of
 * that length, distance^2 = 2 * 2 * (1 - cosine): 0.6 is a cosine similarity of 0.91.
 */
function cosineThreshold(distance) {
  return 1 - distance ** 2 / 4
}
