import { SetupError } from './errors.mjs'
import { findCommand } from './paths.mjs'
import { output, run } from './run.mjs'
import { osRelease } from './system.mjs'

// What a fresh Debian with Node, Python, a compiler, CMake and ninja still lacks; what each is for.
const ALWAYS = ['ca-certificates'] // pip and apt over https
const FOR_SEARCH = [
  'libopenblas-openmp-dev', // BLAS and LAPACK that share FAISS's OpenMP threads
  'libxxhash-dev', // the checksum of saved files
  'dpkg-dev', // unpacks FAISS's source package
]
const FOR_VISION = [
  'libtorch-dev',
  'nlohmann-json3-dev', // safetensors headers
]
const FOR_TESTS = [
  'libgtest-dev', // the C++ tests
  'patchelf', // packs what is tried as an installed package
  'qemu-user', // tries it on an older processor
  'mosquitto', // the service's broker
  'vlc-bin', // a camera that speaks RTSP
  'vlc-plugin-base',
  'ffmpeg', // makes that camera's film, and reads it
]
// The browser of the page's tests, which are skipped without one; Ubuntu has none outside snap.
if (osRelease().ID === 'debian') FOR_TESTS.push('chromium')
// For the optional step opencv.
const FOR_OPENCV = ['libopencv-dev']
// Looked for as commands, because a user may have newer ones than the distribution's.
const COMMANDS = { 'g++': 'g++', cmake: 'cmake', ninja: 'ninja-build' }
// better-sqlite3 is compiled with make.
const COMMANDS_OF_A_CLONE = { make: 'make', python3: 'python3' }

// Debian ships these modules of Python apart.
const MODULES = { pip: 'python3-pip', ensurepip: 'python3-venv' }
const hasModule = (module) => `import importlib.util as u, sys; sys.exit(u.find_spec("${module}") is None)`

export const packages = {
  name: 'packages',
  title: 'system packages',
  work: 'installing what is missing',
  advice: 'If a mirror did not answer, run this again: what was installed stays.',

  async done(context) {
    if (!isDebian()) {
      return (
        'not a Debian or Ubuntu: libtorch >= 1.13, FAISS >= 1.7.3, OpenBLAS with OpenMP, nlohmann-json and GoogleTest\n' +
        '                    are yours to install; the variables Torch_DIR and faiss_ROOT say where'
      )
    }
    context.missingPackages = await missing(context)
    return context.missingPackages.length === 0 ? 'installed' : undefined
  },

  async run(context, progress) {
    const names = context.missingPackages
    const known = await allKnown(names)
    // To install a package for npm is one thing, to install packages for the whole system another.
    const administrator = context.published === undefined ? await administratorPrefix() : undefined
    if (administrator === undefined) {
      const why = context.published === undefined ? ', and installing needs root' : ''
      throw new SetupError(`${names.join(', ')} missing${why}`, { advice: commandToRun(names, known) })
    }

    // Waits for another apt instead of failing beside it; tells its progress on its standard output.
    const [program, ...prefix] = [...administrator, 'apt-get']
    const apt = (...args) =>
      run(program, [...prefix, '-o', 'DPkg::Lock::Timeout=600', '-o', 'APT::Status-Fd=1', ...args], {
        log: context.log,
        environment: { ...context.environment, DEBIAN_FRONTEND: 'noninteractive' },
        onLine: (line) => showProgress(line, progress),
      })
    const install = () => apt('install', '-y', '--no-install-recommends', ...names)

    const update = () => {
      progress.update('fetching the list of packages')
      return apt('update')
    }
    if (!known) await update()
    try {
      await install()
    } catch (error) {
      // Lists that are older than the mirror name files that it no longer has.
      if (!known || !error.tail?.some((line) => line.includes('Unable to fetch') || line.includes('404'))) throw error
      await update()
      await install()
    }
    return `installed ${names.join(', ')}`
  },
}

function isDebian() {
  return findCommand('apt-get') !== undefined && findCommand('dpkg-query') !== undefined
}

async function missing({ environment, only, published, tests }) {
  const wanted = [...ALWAYS]
  if (published?.includes('search') ?? true) wanted.push(...FOR_SEARCH.filter((name) => name !== 'dpkg-dev' || !environment.faiss_ROOT))
  if (published?.includes('vision') ?? true) wanted.push(...FOR_VISION.filter((name) => name !== 'libtorch-dev' || !environment.Torch_DIR))
  if (tests) wanted.push(...FOR_TESTS)
  if (only?.includes('opencv')) wanted.push(...FOR_OPENCV)
  const modules = published === undefined ? ['pip'] : [] // fetches models
  if (tests) modules.push('ensurepip') // makes the virtual environment of the Milvus server

  const states = (await installed([...wanted, ...Object.values(MODULES)])) ?? new Set()
  const names = wanted.filter((name) => !states.has(name))
  const commands = published === undefined ? { ...COMMANDS, ...COMMANDS_OF_A_CLONE } : COMMANDS
  for (const [command, name] of Object.entries(commands)) {
    if (findCommand(command, environment) === undefined) names.push(name)
  }
  for (const module of modules) {
    const name = MODULES[module]
    if (!states.has(name) && (await output('python3', ['-c', hasModule(module)], { environment })) === undefined) names.push(name)
  }
  return names
}

/** Those of the packages that are installed, by one call. */
async function installed(names) {
  // dpkg-query fails when it does not know one of the names, but still answers for the others.
  const text = await output('sh', ['-c', 'dpkg-query -W -f \'${db:Status-Abbrev} ${Package}\\n\' "$@"; :', 'sh', ...names])
  return new Set(text.split('\n').filter((line) => line[1] === 'i').map((line) => line.split(' ').at(-1)))
}

/** Whether apt's lists have a candidate for every package. */
async function allKnown(names) {
  const text = (await output('apt-cache', ['policy', ...names])) ?? ''
  return (text.match(/^ {2}Candidate: (?!\(none\))/gm) ?? []).length === names.length
}

/** What comes before a command that needs root: nothing, sudo when it asks no password, or undefined. */
async function administratorPrefix() {
  if (process.getuid() === 0) return []
  // sudo drops most of the environment, so the variable travels as an argument.
  if ((await output('sudo', ['-n', 'true'])) !== undefined) return ['sudo', '-n', 'env', 'DEBIAN_FRONTEND=noninteractive']
  return undefined
}

function commandToRun(names, known) {
  const update = 'apt-get update'
  const install = `apt-get install -y --no-install-recommends ${names.join(' ')}`
  const steps = known ? [install] : [update, install]
  const line =
    findCommand('sudo') === undefined ? `su -c '${steps.join(' && ')}'` : steps.map((step) => `sudo ${step}`).join(' && ')
  return `Nothing was changed. Run this as an administrator, then start again:\n\n    ${line}`
}

/**
 * Takes over apt's status lines, "dlstatus:3:41.5:Retrieving file ..." and "pmstatus:package:12.0:Installing ...";
 * tells whether it was one.
 */
function showProgress(line, progress) {
  const match = /^(dl|pm)status:[^:]*:([\d.]+):(.*)/.exec(line)
  if (match === null) return false
  // Downloading and installing take about as long as each other.
  const half = Number(match[2]) / 200
  progress.update(match[3], match[1] === 'dl' ? half : 0.5 + half)
  return true
}
