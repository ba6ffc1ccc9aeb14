export { decode } from './decode';
export { drawFaces, packed, type DrawnFace } from './draw';
export { lookAt, photosAtOnce } from './look';
export type { ImageInput, Pixels, RawImage } from './input';
export type { MatLike } from './mat';
