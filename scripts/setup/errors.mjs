/** A step that could not be done. `advice` says what the reader can do about it. */
export class SetupError extends Error {
  constructor(message, { advice, command, tail, log } = {}) {
    super(message)
    this.name = 'SetupError'
    this.advice = advice
    this.command = command
    this.tail = tail
    this.log = log
  }
}
