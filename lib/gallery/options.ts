import type { Face } from '../face';
import type { MilvusOptions } from './milvus-options';
import type { MeasuredQuality, Quality } from './quality';
import type { GalleryRecognizer } from './recognizer';
import type { SqliteOptions } from './sqlite-store';
import type { StoreDescription } from './store';
import type { Match, Metadata, MetadataFilter, ModelMark, Person } from './types';

export interface GalleryOptions extends SqliteOptions, MilvusOptions {
  /**
   * What features are made by and compared as. Without one, a gallery that is there can be listed, changed and exported, and no
   * index is built.
   */
  recognizer?: GalleryRecognizer;
  /** Decides instead of the recogniser's threshold. */
  threshold?: number;
  /** Keeps a small picture of each face, from which it can be embedded anew by another model. Default false. */
  thumbnails?: boolean;
  /** What faces must be like to be enrolled, where that is not the default; false takes every face. */
  quality?: Partial<Quality> | false;
}

export interface EnrollPhotoOptions {
  /** For a person who is not there yet. Default {} */
  metadata?: Metadata;
  /** What a photo must show: exactly one face, or any number, of which the largest is taken. Default `'one'`. */
  faces?: 'one' | 'largest';
  /** As when opening, for these photos. */
  quality?: Partial<Quality> | false;
  /** Enrols the photos that are good enough and tells of the others, instead of enrolling none. Default false. */
  skipRefused?: boolean;
  /** The id for a person who is not there yet. Default: a random UUID. */
  id?: string;
  /** An id for each face. A repeated call with the same ids enrols nothing twice. Default: random UUIDs. */
  faceIds?: readonly string[];
  signal?: AbortSignal;
}

export interface EnrollFeaturesOptions {
  /** As for photos. */
  metadata?: Metadata;
  id?: string;
  faceIds?: readonly string[];
}

/** A photo that was not enrolled. */
export interface RefusedPhoto {
  /** Its place among those given. */
  photo: number;
  /** ERR_NO_FACE, ERR_MANY_FACES or ERR_FACE_QUALITY. */
  code: string;
  message: string;
  /** With ERR_FACE_QUALITY: what the face is like. */
  measured?: MeasuredQuality;
}

export interface Enrollment {
  person: Person;
  /** Whether the person was not there before. */
  created: boolean;
  /** The ids of the faces. */
  faces: string[];
  /** How many of them were not there before. */
  added: number;
  refused: RefusedPhoto[];
}

export interface IdentifyOptions {
  /** Most people for a face. Default 1. */
  top?: number;
  /** Only people whose metadata say so. */
  filter?: MetadataFilter;
  /** Decides instead of the gallery's threshold. */
  threshold?: number;
  /** Only so many of the largest faces. */
  maxFaces?: number;
  signal?: AbortSignal;
}

/** Who somebody is. */
export interface Identified {
  /** Whether the nearest person is near enough. */
  found: boolean;
  /** The nearest person, where they are near enough. */
  person?: Person;
  /** The nearest people, best first, near enough or not. */
  matches: Match[];
}

/** A face in a photo, and who it is. */
export interface Identification extends Identified {
  box: Face['box'];
  landmarks: Face['landmarks'];
  /** How sure the detector is, 0 to 1. */
  score: number;
}

export interface VerifyOptions {
  threshold?: number;
  /** What the photo must show. Default `'largest'`. */
  faces?: 'one' | 'largest';
  signal?: AbortSignal;
}

export interface Verification {
  /** Whether the face is the person's. */
  same: boolean;
  person: Person;
  /** Of the person's nearest face, by the gallery's metric; not there for a person without faces. */
  score?: number;
  /** That face's id. */
  face?: string;
  threshold: number;
}

export interface GalleryListOptions {
  /** Where to go on: `next` of the page before. */
  cursor?: string;
  /** Most people in a page, from 1 to 1,000. Default 100. */
  limit?: number;
  filter?: MetadataFilter;
}

export interface GalleryDescription extends StoreDescription {
  mark: ModelMark;
  threshold?: number;
}
