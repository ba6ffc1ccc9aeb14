// What the checks of models share.

/**
 * How far a device's answers may be from the processor's in fp32, by what its networks multiply in: boxes and landmarks, in widths
 * of the face; Euclidean distances of features (0.6 tells people apart) from pictures and of chips; the depth maps' relative error.
 * docs/gpu.md has the same numbers, and what was measured.
 */
const BOUNDS = {
  fp32: { moved: 1e-3, faces: 1e-3, resnet128: 1e-3, facenet: 1e-3, fcrn: 1e-4 },
  fp16: { moved: 0.02, faces: 0.1, resnet128: 0.01, facenet: 5e-3, fcrn: 5e-3 },
  bf16: { moved: 0.1, faces: 0.25, resnet128: 0.03, facenet: 0.02, fcrn: 3e-2 },
}

/** torch's operations on the processor may have no fp16, and its bf16 is slow. */
export const precisions = (rehearsal) => (rehearsal ? { fp32: BOUNDS.fp32 } : BOUNDS)

/** In a rehearsal what a GPU would compute, by torch's own operations on the processor. */
export const on = (device, precision) => ({ device: device === 'cpu' ? 'torch' : device, precision })

export function distance(a, b) {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2
  return Math.sqrt(sum)
}

/** The difference, in parts of the expected numbers' size. */
export function relative(found, expected) {
  return distance(found, expected) / distance(expected, new Float32Array(expected.length))
}

/** How far apart two faces' boxes and landmarks are at most, in widths of the second. */
export function moved(a, b) {
  const points = ({ box, landmarks }) => [box.x, box.y, box.x + box.width, box.y + box.height, ...landmarks.flat()]
  const others = points(b)
  return Math.max(...points(a).map((value, i) => Math.abs(value - others[i]))) / b.box.width
}
