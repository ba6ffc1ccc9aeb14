/** Prints the steps with their times and the checks with their answers. */
export function printTable({ stream, times, photos, checks, threshold, enrolled }) {
  const colours = stream.isTTY && !process.env.NO_COLOR
  const paint = (code, text) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text)
  const line = (text = '') => stream.write(`${text}\n`)

  const faces = new Map(photos.map((photo) => [photo.name, count(photo.faces.length, 'face')]))
  const steps = times.map(({ title, ms }) => [
    faces.has(title) ? `${title}: decode, detect, embed` : title,
    milliseconds(ms),
    faces.get(title) ?? '',
  ])
  const answers = checks.map(({ name, photo, expected, found, score, passed }) => [
    passed ? '✓' : '✗',
    name,
    photo,
    expected,
    found ? 'found' : 'not found',
    score === null ? '-' : score.toFixed(4),
  ])

  line()
  for (const row of columns([['Step', 'Time', 'Faces'], ...steps], [1])) line(`  ${row}`)
  line()
  columns([['', 'Check', 'Photo', 'Expected', 'Answer', 'Cosine'], ...answers], [5]).forEach((row, i) => {
    line(`  ${i === 0 ? row : paint(checks[i - 1].passed ? 32 : 31, row)}`)
  })
  line()
  line(`  ${enrolled.name} is enrolled with ${enrolled.photo}; found means a cosine similarity above ${threshold.toFixed(2)}.`)
}

function columns(rows, rightAligned) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)))
  return rows.map((row) =>
    row.map((cell, i) => (rightAligned.includes(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join('   ').trimEnd(),
  )
}

function milliseconds(ms) {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`
}

function count(number, what) {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}
