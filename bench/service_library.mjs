// The library's side of `npm run bench:service`, in a process of its own: identifies whichever of the photos it is sent the place of, and
// answers with the milliseconds that it took.
//
//   node bench/service_library.mjs FOLDER ENROLLED PHOTO...
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const require = createRequire(import.meta.url)
const { FaceRecognizer } = require('../dist/face')
const { Gallery } = require('../dist/gallery')

const [folder, enrolled, ...photos] = process.argv.slice(2)
// As the service loads it.
const recognizer = await FaceRecognizer.load({ model: 'resnet128', minFaceSize: 40 })
const gallery = await Gallery.open(join(folder, 'people.db'), { recognizer })
await gallery.enroll('Obama', enrolled)
const bodies = photos.map((photo) => readFileSync(photo))
process.on('message', async (place) => {
  const begin = performance.now()
  await gallery.identify(bodies[place])
  process.send(performance.now() - begin)
})
process.once('disconnect', () => process.exit())
process.send('ready')
