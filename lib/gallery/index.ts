export {
  Gallery,
  type Identified,
  type EnrollFeaturesOptions,
  type Enrollment,
  type EnrollPhotoOptions,
  type GalleryDescription,
  type GalleryListOptions,
  type GalleryOptions,
  type Identification,
  type IdentifyOptions,
  type RefusedPhoto,
  type Verification,
  type VerifyOptions,
} from './gallery';
export { FaceQualityError, type MeasuredQuality, type Quality } from './quality';
export type { GalleryRecognizer } from './recognizer';
export type { Reembedded, ReembedOptions } from './reembed';
export type { MilvusConnectionOptions, MilvusConsistency, MilvusIndex, MilvusOptions } from './milvus-options';
export type { SqliteOptions } from './sqlite-store';
export type { Page, StoreDescription } from './store';
export type { ImportOptions, Transferred, TransferOptions } from './transfer';
export type { GalleryFace, Json, ListedPerson, Match, Metadata, MetadataFilter, ModelMark, Person, PersonRef } from './types';
export { FaissVisionError } from '../error';
