/**
 * What is being done right now.
 * - `wait`: another process is at work on `file`
 * - `download`: a package's client has been started; `file` is the package
 * - `fetched`: `file` of a package is here and has the right content
 * - `retry`: `file` is fetched again because of `reason`; `done` of `total` tries have failed
 * - `damaged`: `file` was there and is not what it was, because of `reason`; it is made or fetched again
 * - `write`: `file` of the models or photos folder is there, `done` of `total`
 */
export interface Progress {
  step: 'wait' | 'download' | 'fetched' | 'retry' | 'damaged' | 'write';
  file: string;
  done?: number;
  total?: number;
  reason?: string;
}

export type OnProgress = (progress: Progress) => void;
