import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from './errors.mjs'
import { buildJobs } from './ninja.mjs'
import { nodeHeaders } from './paths.mjs'
import { output, run } from './run.mjs'

const VERSION = '7.1.2'
// What this project uses of it; all of them would take many times as long to compile.
const MODULES = ['core', 'highgui', 'imgcodecs', 'imgproc', 'videoio'] // it does not load without imgproc
const INCLUDE = '/usr/include/opencv4'
const PEAK_MEMORY_PER_JOB_GB = 1

/** The folder in the cache with the optional peer @u4/opencv4nodejs. It is compiled for one major version of Node. */
export const opencvFolder = (cache) => join(cache, `opencv-${VERSION}-${process.arch}-${process.versions.modules}`)

/** Only when asked for by name: the tests with the real package are skipped without it. */
export const opencv = {
  name: 'opencv',
  title: 'OpenCV for Node',
  work: 'compiling @u4/opencv4nodejs once, some minutes',
  advice: 'Run this again: what is unfinished is made anew.',

  async done({ cache }) {
    return existsSync(join(opencvFolder(cache), 'ready')) ? `@u4/opencv4nodejs ${VERSION}` : undefined
  },

  async run(context, progress) {
    const folder = opencvFolder(context.cache)
    if (!existsSync(INCLUDE)) throw new SetupError(`there is no ${INCLUDE}`, { advice: 'Install libopencv-dev (the step packages does).' })
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies: { '@u4/opencv4nodejs': VERSION } }))
    const environment = { ...context.environment, ...buildEnvironment(folder, await libraryFolder(), context.environment) }
    progress.update('npm install')
    const npm = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
    await run('npm', npm, { cwd: folder, log: context.log, environment })

    // Its own program for this starts node-gyp in a folder without the build file.
    const cwd = join(folder, 'node_modules/@u4/opencv4nodejs')
    const sources = readdirSync(join(cwd, 'cc'), { recursive: true }).filter((name) => name.endsWith('.cc')).length
    let compiled = 0
    const gyp = join(folder, 'node_modules/node-gyp/bin/node-gyp.js')
    await run(process.execPath, [gyp, 'rebuild', '--jobs', String(buildJobs(PEAK_MEMORY_PER_JOB_GB))], {
      cwd,
      log: context.log,
      environment,
      onLine: (line) => {
        if (line.includes('CXX(target)')) progress.update('compiling', ++compiled / sources)
      },
    })
    writeFileSync(join(folder, 'ready'), '')
    return `@u4/opencv4nodejs ${VERSION}, compiled`
  },
}

function buildEnvironment(folder, libraries, { CXXFLAGS = '' }) {
  const include = join(folder, 'include')
  mkdirSync(join(include, 'opencv2'), { recursive: true })
  // The package compiles what OpenCV's list of its modules has; this one comes before OpenCV's own.
  writeFileSync(join(include, 'opencv2/opencv_modules.hpp'), MODULES.map((name) => `#define HAVE_OPENCV_${name.toUpperCase()}\n`).join(''))
  symlinkSync(INCLUDE, join(include, 'opencv4'))
  return {
    OPENCV4NODEJS_DISABLE_AUTOBUILD: '1',
    OPENCV_INCLUDE_DIR: include,
    OPENCV_LIB_DIR: libraries,
    OPENCV_BIN_DIR: '/usr/bin',
    CXXFLAGS: `${CXXFLAGS} -O1`, // it only hands over: the work is done in OpenCV's own libraries
    ...nodeHeaders(),
  }
}

/** Where Debian keeps this architecture's libraries. */
async function libraryFolder() {
  const architecture = (await output('g++', ['-print-multiarch']))?.trim() ?? ''
  return join('/usr/lib', architecture)
}
