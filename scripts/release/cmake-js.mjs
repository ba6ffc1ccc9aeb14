#!/usr/bin/env node
// What prebuildify starts as node-gyp: makes sure of the local build, which cmake-js does, and puts the addon FAISS_VISION_ADDON
// where prebuildify looks. It takes the first that it finds there and moves it away, so it gets a copy, and nothing beside it.
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setup } from '../setup.mjs'
import { projectFolder } from '../setup/paths.mjs'

await setup({ quiet: true, only: ['faiss', 'addons'] })
const addon = join('build/Release', `${process.env.FAISS_VISION_ADDON}.node`)
mkdirSync('build/Release', { recursive: true })
copyFileSync(join(projectFolder, addon), addon)
