/** Every failure of this package: an `Error` with a stable `code` such as `ERR_DIMENSION_MISMATCH`. */
export class FaissVisionError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'FaissVisionError';
    this.code = code;
  }
}
