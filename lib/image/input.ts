import type { MatLike } from './mat';

/** Pixels as they lie in memory, rows first. They are read where they are, without a copy. */
export interface RawImage {
  /** One byte per channel, channels side by side. */
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
  /** 1: grey. 3: colour. 4: colour and opacity, shown over white. */
  channels: 1 | 3 | 4;
  /** Which colour comes first in each pixel. Default `'rgb'`; `'bgr'` is what cameras and OpenCV give. */
  order?: 'rgb' | 'bgr';
  /** Bytes from the start of one row to the start of the next. Default `width * channels`. */
  stride?: number;
}

/** A picture: the path or `file:` URL of one, the bytes of a JPEG, PNG or WebP file, raw pixels, or a `Mat` of `@u4/opencv4nodejs`. */
export type ImageInput = string | URL | Uint8Array | RawImage | MatLike;

/** Checked pixels with every default filled in, in memory that stays valid while another thread reads it. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3 | 4;
  readonly order: 'rgb' | 'bgr';
  readonly stride: number;
  /** Memory that decoding made for these pixels alone, which whoever asked for them may detach. */
  readonly own?: ArrayBuffer | undefined;
  /** Where `data` are a JPEG file's bytes, for a GPU to decode: its pixels, for when that refuses. */
  readonly jpeg?: () => Promise<Pixels>;
  /** Where the picture was shrunk while it was decoded: its width and height in those of these pixels. */
  readonly shrunk?: { readonly x: number; readonly y: number };
}
