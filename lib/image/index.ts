export { decode } from './decode';
export { drawFaces, packed, type DrawnFace } from './draw';
export { lookAt, PHOTOS_AT_ONCE } from './look';
export type { ImageInput, Pixels, RawImage } from './input';
export type { MatLike } from './mat';
