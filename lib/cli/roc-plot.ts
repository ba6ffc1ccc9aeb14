import type { RocPoint } from '../face/evaluation';
import { outline } from '../image/text';

const WIDTH = 960;
const HEIGHT = 720;
const PLOT = { left: 110, top: 96, right: WIDTH - 40, bottom: HEIGHT - 90 };
const GREY = '#6b7280';

/** Where a text stands at its point: its left end, its middle or its right end. */
type Anchor = 'start' | 'middle' | 'end';

function text(content: string, x: number, y: number, size: number, look: { anchor?: Anchor; color?: string } = {}): string {
  const { anchor = 'start', color = '#111827' } = look;
  const letters = outline(content);
  const left = x - letters.width * size * { start: 0, middle: 0.5, end: 1 }[anchor];
  return `<path d="${letters.path(left, y, size)}" fill="${color}"/>`;
}

/**
 * A ROC curve as a PNG of 960 x 720: true accepts over false accepts, which have a logarithmic axis, as those that
 * matter are few. What lies left of the axis (no false accept at all) is drawn at its edge.
 *
 * @param different how many different pairs there were: one of them is the least that the axis can show
 * @param marked what one threshold accepts, and what to write beside it
 */
export async function plotRoc(roc: readonly RocPoint[], { title, subtitle, different, marked }: {
  title: string;
  subtitle: string;
  different: number;
  marked: { point: { falseAccept: number; trueAccept: number }; label: string };
}): Promise<Buffer> {
  const decades = Math.max(1, Math.ceil(Math.log10(different)));
  const x = (falseAccept: number) => PLOT.right + (Math.max(Math.log10(falseAccept), -decades) / decades) * (PLOT.right - PLOT.left);
  const y = (trueAccept: number) => PLOT.bottom - trueAccept * (PLOT.bottom - PLOT.top);
  const n = (value: number) => value.toFixed(2);

  const shapes: string[] = [];
  for (let i = 0; i <= decades; i++) {
    const at = x(10 ** -i);
    shapes.push(`<path d="M${n(at)} ${PLOT.top}V${PLOT.bottom}" stroke="#e5e7eb"/>`);
    shapes.push(text((10 ** -i).toFixed(i), at, PLOT.bottom + 28, 17, { anchor: 'middle', color: GREY }));
  }
  for (let i = 0; i <= 10; i++) {
    const at = y(i / 10);
    shapes.push(`<path d="M${PLOT.left} ${n(at)}H${PLOT.right}" stroke="#e5e7eb"/>`);
    shapes.push(text((i / 10).toFixed(1), PLOT.left - 12, at + 6, 17, { anchor: 'end', color: GREY }));
  }
  shapes.push(`<path d="M${PLOT.left} ${PLOT.top}V${PLOT.bottom}H${PLOT.right}" stroke="${GREY}" fill="none" stroke-width="1.5"/>`);
  shapes.push(text('false accepts: different people taken for the same', (PLOT.left + PLOT.right) / 2, HEIGHT - 24, 18, { anchor: 'middle' }));
  shapes.push(text('true accepts', PLOT.left - 70, PLOT.top - 16, 18));
  shapes.push(text(title, PLOT.left - 70, 36, 24), text(subtitle, WIDTH - 40, 36, 18, { anchor: 'end', color: GREY }));

  // A slanted piece would be bent by the logarithm; a step, first right and then up, claims no more than was measured.
  const [first, ...rest] = roc;
  const line = rest.map((point) => `H${n(x(point.falseAccept))}V${n(y(point.trueAccept))}`);
  shapes.push(`<path d="M${n(x(first!.falseAccept))} ${n(y(first!.trueAccept))}${line.join('')}" stroke="#0f766e" fill="none" stroke-width="3"/>`);
  const [mx, my] = [x(marked.point.falseAccept), y(marked.point.trueAccept)];
  shapes.push(`<circle cx="${n(mx)}" cy="${n(my)}" r="7" fill="#ea580c" stroke="#fff" stroke-width="2"/>`);
  const onRight = mx > (PLOT.left + PLOT.right) / 2;
  const [left, anchor] = onRight ? ([mx - 14, 'end'] as const) : ([mx + 14, 'start'] as const);
  shapes.push(text(marked.label, left, Math.min(my + 26, PLOT.bottom - 10), 17, { anchor, color: '#c2410c' }));

  const page = `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}">${page}${shapes.join('')}</svg>`;
  const sharp = require('sharp') as typeof import('sharp');
  return sharp(Buffer.from(svg)).removeAlpha().png().toBuffer();
}
