// The service for `npm run bench:service`, in a process that also calls the library by itself, with the service's own gallery and models.
// Sent the place of a photo it identifies it; sent 'took' it does not. Either way it answers with what the last identify took, by whomever:
// milliseconds, and how many faces there were.
//
//   node bench/service_library.mjs CONFIG PHOTO...
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { serve } from '../packages/service/dist/index.js'

const { Gallery } = createRequire(import.meta.url)('../dist/gallery')

const [config, ...photos] = process.argv.slice(2)
let gallery
let last
const { open } = Gallery
Gallery.open = async (...settings) => {
  gallery = await open.apply(Gallery, settings)
  const { identify } = gallery
  gallery.identify = async (...photo) => {
    const begin = performance.now()
    const faces = await identify.apply(gallery, photo)
    last = { ms: performance.now() - begin, faces: faces.length }
    return faces
  }
  return gallery
}

const bodies = photos.map((photo) => readFileSync(photo))
process.on('message', async (asked) => {
  if (asked !== 'took') await gallery.identify(bodies[asked])
  process.send(last)
})
process.once('disconnect', () => process.exit())
await serve(config, (url) => process.send({ url }))
process.disconnect() // else it would go on listening
