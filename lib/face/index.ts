export { FaceRecognizer, type Face, type FaceRecognizerOptions, type FacesOptions, type RegisteredModel } from './recognizer';
export { drawFaces, type DrawnFace, type ImageInput, type MatLike, type RawImage } from '../image';
export { FaissVisionError } from '../error';
export type { Device } from '../device';
export { DeviceFeatures } from '../device-features';
export { setThreads } from '../addon';
