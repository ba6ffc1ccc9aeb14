/** Random directions, all of length 1, from a seeded generator (xorshift). */
export function randomDirections(count, dimension, seed) {
  const vectors = new Float32Array(count * dimension);
  let state = seed;
  for (let i = 0; i < count; i++) {
    const vector = vectors.subarray(i * dimension, (i + 1) * dimension);
    let squares = 0;
    for (let j = 0; j < dimension; j++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      squares += (vector[j] = state / 2 ** 31) ** 2;
    }
    const factor = 1 / Math.sqrt(squares);
    for (let j = 0; j < dimension; j++) vector[j] *= factor;
  }
  return vectors;
}
