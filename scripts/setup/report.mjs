const TITLE_WIDTH = 17
const SHOW_AFTER_MS = 500 // in a terminal; shorter steps would only flicker
const ANNOUNCE_AFTER_MS = 2000 // elsewhere, where a line cannot be taken back
const FRAME_MS = 100
const BAR_CELLS = 20
const SPINNER = ['|', '/', '-', '\\']

/** "0.3 s", "58.2 s", "3 min 07 s" */
export function duration(ms) {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`
}

/** "[#####---------------]  25 %" */
export function bar(fraction) {
  const filled = Math.round(Math.min(1, Math.max(0, fraction)) * BAR_CELLS)
  return `[${'#'.repeat(filled)}${'-'.repeat(BAR_CELLS - filled)}] ${String(Math.floor(fraction * 100)).padStart(3)} %`
}

/**
 * Tells what the steps do: in a terminal one line that moves while a step runs, and everywhere one line
 * per step when it is done. `quiet` leaves out the steps over which nobody had to wait.
 */
export class Report {
  #stream
  #quiet

  constructor({ stream = process.stdout, quiet = false } = {}) {
    this.#stream = stream
    this.#quiet = quiet
  }

  line(text = '') {
    this.#stream.write(`${text}\n`)
  }

  /** The one line of a step that is done. */
  result(step, note, ms) {
    if (this.#quiet && ms < SHOW_AFTER_MS) return
    this.line(`  ${step.title.padEnd(TITLE_WIDTH)} ${note} (${duration(ms)})`)
  }

  /** Begins a step; the Progress that comes back takes what is known while it runs. */
  begin(step) {
    return new Progress(this, this.#stream, step)
  }
}

class Progress {
  #report
  #stream
  #step
  #begin = performance.now()
  #text = ''
  #waiting
  #fraction
  #frame = 0
  #timer
  #shown = false

  constructor(report, stream, step) {
    this.#report = report
    this.#stream = stream
    this.#step = step
    if (stream.isTTY) this.#timer = setInterval(() => this.#draw(), FRAME_MS)
    else this.#timer = setTimeout(() => report.line(`  ${step.title.padEnd(TITLE_WIDTH)} ${this.#waiting ?? step.work} ...`), ANNOUNCE_AFTER_MS)
  }

  /** What is being done, and how far it is (0 to 1) where that is known. */
  update(text, fraction) {
    this.#text = text
    this.#fraction = fraction
  }

  /** The step cannot begin yet, because of what the text says. */
  wait(text) {
    this.#waiting = text
    this.update(text)
  }

  done(note) {
    this.stop()
    this.#report.result(this.#step, note, this.elapsed)
  }

  stop() {
    clearInterval(this.#timer)
    this.#clear()
  }

  get elapsed() {
    return performance.now() - this.#begin
  }

  #draw() {
    if (this.elapsed < SHOW_AFTER_MS) return
    const known = this.#fraction === undefined ? SPINNER[this.#frame++ % SPINNER.length] : bar(this.#fraction)
    const text = `  ${this.#step.title.padEnd(TITLE_WIDTH)} ${known} ${duration(this.elapsed)} ${this.#text}`
    // A line that wraps could not be drawn over.
    this.#stream.write(`\r\x1b[K${text.slice(0, (this.#stream.columns ?? 80) - 1)}`)
    this.#shown = true
  }

  #clear() {
    if (this.#shown) this.#stream.write('\r\x1b[K')
    this.#shown = false
  }
}
