import { effect } from '@preact/signals';
import { call } from './api';
import { cameras, paused, type Watched } from './state';
import type { Live } from './types';

/** All cameras of a page together ask for so many frames a second at most. */
const MOST_A_SECOND = 40;
const AFTER_FAILURE = 2000;

interface Options {
  canvas: HTMLCanvasElement;
  /** The frame that is on the canvas now. */
  onShown(live: Live): void;
}

/**
 * Draws a camera's frames one after the other, each with what was seen on exactly that frame. They are asked for one by one instead of
 * as a stream, so that many cameras share the few connections of a browser; nothing is asked for while the canvas is out of sight.
 * @returns ends it
 */
export function playFrames({ camera, live, recent }: Watched, { canvas, onShown }: Options): () => void {
  const { id } = camera.peek();
  const end = new AbortController();
  let seen = true;
  let asked = -1;
  let due = 0;
  let busy = false;
  let waiting: { number: number; bitmap: ImageBitmap } | undefined;

  const show = () => {
    if (waiting === undefined) return;
    const its = recent.get(waiting.number);
    // The picture came before its boxes, over another connection: they follow.
    if (!its || end.signal.aborted) return;
    draw(canvas, waiting.bitmap);
    waiting = undefined;
    onShown(its);
  };

  const next = async () => {
    const newest = live.peek();
    if (busy || !seen || paused.peek() || !newest || newest.frame === asked || end.signal.aborted) return;
    busy = true;
    await pause(due - performance.now());
    due = performance.now() + (1000 * cameras.peek().size) / MOST_A_SECOND;
    asked = live.peek()!.frame;
    try {
      const response = await call(`v1/cameras/${id}/frame.jpg`, { signal: end.signal });
      const number = Number(response.headers.get('x-frame'));
      const bitmap = await createImageBitmap(await response.blob());
      waiting?.bitmap.close();
      waiting = { number, bitmap };
      asked = Math.max(asked, number);
      show();
    } catch {
      // The camera's state and the streams tell what is wrong.
      due = performance.now() + AFTER_FAILURE;
    }
    busy = false;
    void next();
  };

  const sight = new IntersectionObserver(([entry]) => {
    seen = entry!.isIntersecting;
    void next();
  });
  sight.observe(canvas);
  const dispose = effect(() => {
    void live.value;
    void paused.value;
    show();
    void next();
  });
  return () => {
    dispose();
    end.abort();
    sight.disconnect();
    waiting?.bitmap.close();
  };
}

/** Draws a camera's depth maps as they come. @returns ends it */
export function playDepth({ camera, live }: Watched, canvas: HTMLCanvasElement, onShown: () => void): () => void {
  const { id } = camera.peek();
  const end = new AbortController();
  let busy = false;
  let shown: number | undefined;
  const dispose = effect(() => {
    const coverage = live.value?.coverage;
    // Another map has another coverage, but for a chance in thousands.
    if (busy || paused.value || coverage === undefined || coverage === shown) return;
    busy = true;
    void (async () => {
      try {
        const response = await call(`v1/cameras/${id}/depth.png`, { signal: end.signal });
        draw(canvas, await createImageBitmap(await response.blob()));
        shown = coverage;
        onShown();
      } catch {
        await pause(AFTER_FAILURE);
      }
      busy = false;
    })();
  });
  return () => {
    dispose();
    end.abort();
  };
}

function draw(canvas: HTMLCanvasElement, bitmap: ImageBitmap): void {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext('2d')!.drawImage(bitmap, 0, 0);
  bitmap.close();
}

function pause(ms: number): Promise<void> | undefined {
  return ms > 0 ? new Promise((resolve) => setTimeout(resolve, ms)) : undefined;
}
