// Vectors that are the same wherever they are made.

/** n x d numbers from -1 to 1. @param seed  a whole number */
export function uniform(n, d, seed) {
  const numbers = new Float32Array(n * d)
  let state = seed * 2654435761 + 1
  for (let i = 0; i < numbers.length; i++) {
    // xorshift32: quick, and good enough for vectors
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    numbers[i] = state / 2 ** 31
  }
  return numbers
}

/**
 * How two searches agree. Of vectors that are about as near either may come first: an id that the other lacks counts only
 * where its distance is not that of the other's at this place.
 * @param least  distances below it count as this: of vectors of length 1 those near 0 are differences of numbers near 1
 */
export function compare(found, expected, bound, least = 1e-6) {
  let ids = 0
  let worst = 0
  for (let i = 0; i < expected.labels.length; i++) {
    const scale = Math.max(Math.abs(expected.distances[i]), least)
    const error = Math.abs(found.distances[i] - expected.distances[i]) / scale
    if (found.labels[i] === -1n && expected.labels[i] === -1n) continue
    worst = Math.max(worst, error)
    if (found.labels[i] !== expected.labels[i] && error > bound) ids++
  }
  return { ids, worst }
}

/** Of k neighbours each, the share of ids that both found. */
export function overlap(found, expected, k) {
  let same = 0
  for (let row = 0; row < expected.labels.length; row += k) {
    const known = new Set(expected.labels.subarray(row, row + k))
    for (const id of found.labels.subarray(row, row + k)) if (known.has(id)) same++
  }
  return same / expected.labels.length
}
