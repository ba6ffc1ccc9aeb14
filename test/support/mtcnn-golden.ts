import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Face } from 'faiss-vision/face';
import { expect } from 'vitest';

interface Expected {
  box: [number, number, number, number];
  score: number;
  landmarks: [number, number][];
}

/** What facenet-pytorch found in each photo. */
export const photos: [string, { width: number; height: number; faces: Expected[] }][] = Object.entries(
  JSON.parse(readFileSync(join(__dirname, '../golden/mtcnn/mtcnn.json'), 'utf8')).photos,
);

function overlap({ box }: Face, [x0, y0, x1, y1]: Expected['box']): number {
  const width = Math.min(box.x + box.width, x1) - Math.max(box.x, x0);
  const height = Math.min(box.y + box.height, y1) - Math.max(box.y, y0);
  const both = Math.max(0, width) * Math.max(0, height);
  return both / (box.width * box.height + (x1 - x0) * (y1 - y0) - both);
}

/** Every face that is sure is found, where it is, and no other is. */
export function expectGolden(faces: Face[], expected: Expected[]): void {
  for (const { box, score, landmarks } of expected.filter((face) => face.score >= 0.9)) {
    const best = faces.reduce((a, b) => (overlap(a, box) > overlap(b, box) ? a : b));
    expect(overlap(best, box)).toBeGreaterThanOrEqual(0.97);
    expect(Math.abs(best.score - score)).toBeLessThanOrEqual(0.01);
    best.landmarks.forEach(([x, y], i) => expect(Math.hypot(x - landmarks[i]![0], y - landmarks[i]![1])).toBeLessThanOrEqual(2));
  }
  for (const face of faces.filter(({ score }) => score >= 0.9)) {
    expect(Math.max(...expected.map(({ box }) => overlap(face, box)))).toBeGreaterThanOrEqual(0.97);
  }
}
