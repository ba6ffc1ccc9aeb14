// Vectors as real features lie: clusters of uneven size that touch, most of their spread in few directions. The same for a seed.

/** Uniform numbers in [0, 1): the 32-bit generator mulberry32. */
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * count x dimension, row after row. Take queries from the end of a longer run: they are of the same distribution then.
 * @param spread how far a vector lies from its cluster's centre, in units of how far the centres lie from each other
 */
export function clustered({ dimension, count, clusters = 1000, spread = 1, seed = 1 }) {
  const random = uniform(seed);
  // Box and Muller's normal numbers; 1 - random() is never 0.
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const scale = Float64Array.from({ length: dimension }, (_, j) => 1 / Math.sqrt(j + 1));
  const centres = Float32Array.from({ length: clusters * dimension }, (_, i) => normal() * scale[i % dimension]);
  const vectors = new Float32Array(count * dimension);
  for (let i = 0; i < count; i++) {
    // The square makes low numbers likelier, so that some clusters are much larger than others.
    const centre = Math.floor(random() ** 2 * clusters);
    for (let j = 0; j < dimension; j++) {
      vectors[i * dimension + j] = centres[centre * dimension + j] + spread * normal() * scale[j];
    }
  }
  return vectors;
}
