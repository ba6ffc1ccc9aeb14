import type { Face } from '../face';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** What is known of a person besides the name: a JSON object of at most 64 KiB. */
export type Metadata = { [key: string]: Json };

/**
 * What a person's metadata must say: every key must be there with this value, or with one of these. Values are compared as they
 * are, `1` is not `'1'`.
 */
export type MetadataFilter = { [key: string]: string | number | boolean | readonly (string | number | boolean)[] };

/** What makes features comparable: two galleries, or a gallery and a recogniser, go together where all of it is equal. */
export interface ModelMark {
  /** Such as `'resnet128'`. */
  model: string;
  /** Which weights: for a `FaceRecognizer` the beginning of their SHA-256. */
  version: string;
  /** Numbers in a face's features. */
  dimension: number;
  /** `'l2'` scores by plain Euclidean distance, less is nearer; `'cosine'` by cosine similarity, more is nearer. */
  metric: 'l2' | 'cosine';
}

export interface Person {
  /** Made by the gallery, or by the caller: 1 to 64 of the characters A-Z a-z 0-9 . _ - */
  id: string;
  /** No two people of a gallery have the same name. At most 1,024 bytes of UTF-8, in Unicode's composed form, no control characters. */
  name: string;
  metadata: Metadata;
  created: Date;
  /** When name or metadata changed last. */
  updated: Date;
}

export interface ListedPerson extends Person {
  /** How many there are. */
  faces: number;
}

/** A person by name, or by id. */
export type PersonRef = string | { id: string };

/** A face of the gallery, without its features. */
export interface GalleryFace {
  /** As a person's id. */
  id: string;
  /** The person's id. */
  person: string;
  created: Date;
  /** Where in its photo the face was; not there for features that came without. */
  box?: Face['box'];
  /** How sure the detector was, 0 to 1. */
  score?: number;
  /** A JPEG of the face, where the gallery keeps them. */
  thumbnail?: Uint8Array;
}

/** A face with its features: `dimension` finite numbers, of length 1 for the metric `'cosine'`. */
export interface StoredFace extends GalleryFace {
  features: Float32Array;
}

/** A person and their nearest face. */
export interface Match {
  person: Person;
  /** The id of the nearest of the person's faces. */
  face: string;
  /** Plain Euclidean distance or cosine similarity of that face, by the gallery's metric. */
  score: number;
}
