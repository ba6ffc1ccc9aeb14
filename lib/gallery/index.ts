export { Gallery } from './gallery';
export type {
  EnrollFeaturesOptions,
  Enrollment,
  EnrollPhotoOptions,
  GalleryDescription,
  GalleryListOptions,
  GalleryOptions,
  Identification,
  Identified,
  IdentifyOptions,
  RefusedPhoto,
  Verification,
  VerifyOptions,
} from './options';
export { FaceQualityError, type MeasuredQuality, type Quality } from './quality';
export type { GalleryRecognizer } from './recognizer';
export type { Reembedded, ReembedOptions } from './reembed';
export type { MilvusConnectionOptions, MilvusConsistency, MilvusIndex, MilvusOptions } from './milvus-options';
export type { SqliteOptions } from './sqlite-store';
export type { Page, StoreDescription } from './store';
export type { ImportOptions, Transferred, TransferOptions } from './transfer';
export type { GalleryFace, Json, ListedPerson, Match, Metadata, MetadataFilter, ModelMark, Person, PersonRef } from './types';
export { FaissVisionError } from '../error';
