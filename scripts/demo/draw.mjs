import { mkdir, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, extname, join } from 'node:path'
import { projectFolder } from '../setup/paths.mjs'
import { enrolled } from './recognise.mjs'

const { drawFaces } = createRequire(import.meta.url)('../../dist/image')

/** Writes each photo with what was found in it to demo-out/. Returns the paths. */
export async function drawPhotos(photos) {
  const folder = join(projectFolder, 'demo-out')
  await mkdir(folder, { recursive: true })
  return Promise.all(
    photos.map(async ({ name, path, faces, decisions }) => {
      const out = join(folder, `${basename(name, extname(name))}.png`)
      await writeFile(out, await drawFaces(path, faces.map((face, i) => marking(face, decisions[i]))))
      return out
    }),
  )
}

/** How a face is drawn: green where the person is known, orange where not. */
export function marking({ box, landmarks, score }, decision) {
  const name = decision.found ? enrolled.name : 'unknown'
  const label = `${name}\ncosine ${decision.score.toFixed(3)} · face ${score.toFixed(3)}`
  return { box, landmarks, label, color: decision.found ? '#3ddc97' : '#ff9f43' }
}
