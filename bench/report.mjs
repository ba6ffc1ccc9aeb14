// A report that is printed as it grows and written as Markdown at the end.
import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';

export function report() {
  const parts = [];
  return {
    say(text) {
      parts.push(text);
      console.log(`${text}\n`);
    },
    write: (file) => writeFileSync(file, `${parts.join('\n\n')}\n`),
  };
}

/** The line that says what it was measured on. */
export const machine = () => `- ${cpus()[0].model.trim()}, ${availableParallelism()} threads, Node ${process.versions.node}`;

/** What searchInfo() says, in a few words. */
export const faissIn = ({ faiss, simd, blas, blasKernels }) =>
  `FAISS ${faiss}, ${simd.trim()}, ${blas.split(' ').slice(0, 2).join(' ')} with ${blasKernels} kernels`;

/** A table with its columns aligned; every column after the first to the right. */
export function table(head, rows) {
  const widths = head.map((title, column) => Math.max(3, title.length, ...rows.map((row) => row[column].length)));
  const line = (cells) => `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`;
  const rule = `| ${widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

/** Three significant digits, thousands with commas: 0.0123, 1.23, 12.3, 12,345. */
export function figure(number) {
  const rounded = Number(number.toPrecision(3));
  return Math.abs(rounded) >= 100 ? Math.round(number).toLocaleString('en') : String(rounded);
}
