export { DepthEstimator, type DepthEstimatorOptions } from './estimator';
export { DepthMap, type DrawOptions, type Near } from './depth-map';
export { DepthWatch, type WatchEvents, type WatchOptions } from './watch';
export { openFrames, type FrameSource } from './frames';
export type { ColorMap } from './color-map';
export { convertWeights, type ConvertedWeights, type OnConvert } from '../models/convert-weights';
export type { ImageInput, RawImage } from '../image';
export { FaissVisionError } from '../error';
export { setThreads } from '../addon';
