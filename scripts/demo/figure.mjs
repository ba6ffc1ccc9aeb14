/**
 * A drawn figure instead of a person, as SVG: its head is where the face's box is.
 *
 * box: { x, y, width, height }; bottom: where the picture ends; colour: the figure's
 */
export function figure({ x, y, width, height }, bottom, colour) {
  const [middle, chin, wide] = [x + width / 2, y + height, width / 124]
  const at = (offset) => middle + offset * wide
  const body = `M${at(-140)} ${bottom} C${at(-130)} ${chin + 24 * wide} ${at(-70)} ${chin + 34 * wide}
    ${at(-30)} ${chin + 12 * wide} V${chin - 40 * wide} H${at(30)} V${chin + 12 * wide} C${at(70)} ${chin + 34 * wide} ${at(130)} ${chin + 24 * wide} ${at(140)} ${bottom} Z`
  return (
    `<path d="${body}" fill="${colour}"/>` +
    `<ellipse cx="${middle}" cy="${y + height * 0.46}" rx="${width * 0.54}" ry="${height * 0.56}" fill="${colour}"/>`
  )
}
