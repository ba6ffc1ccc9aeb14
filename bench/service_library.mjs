// The library's side of `npm run bench:service`, in a process of its own: identifies the photo whenever it is told to, and answers with
// the milliseconds that it took.
//
//   node bench/service_library.mjs PHOTO ENROLLED FOLDER
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const require = createRequire(import.meta.url)
const { FaceRecognizer } = require('../dist/face')
const { Gallery } = require('../dist/gallery')

const [photo, enrolled, folder] = process.argv.slice(2)
// As the service loads it.
const recognizer = await FaceRecognizer.load({ model: 'resnet128', minFaceSize: 40 })
const gallery = await Gallery.open(join(folder, 'people.db'), { recognizer })
await gallery.enroll('Obama', enrolled)
const body = readFileSync(photo)
process.on('message', async () => {
  const begin = performance.now()
  await gallery.identify(body)
  process.send(performance.now() - begin)
})
process.once('disconnect', () => process.exit())
process.send('ready')
