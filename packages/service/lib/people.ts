import type { Face } from 'faiss-vision';
import type { Known } from './pipeline/decision.js';

export interface PersonInfo {
  id: string;
  name: string;
  faces: number;
  metadata: Record<string, unknown>;
  created: string;
  updated: string;
}

export interface FaceInfo {
  id: string;
  created: string;
  box?: Face['box'];
  score?: number;
}

/** A face in a picture, and who it is most like. */
export interface Identified {
  box: Face['box'];
  score: number;
  /** The nearest people, best first; `distance` is that of their nearest face. */
  matches: { person: { id: string; name: string }; distance: number }[];
  /** Whether the first of them is near enough. */
  known: boolean;
}

export interface Enrolled {
  person: PersonInfo;
  face: FaceInfo;
  /** Whether the person was new. */
  created: boolean;
}

/** What the service does with the gallery. */
export interface People {
  list(options: { limit: number; cursor?: string | undefined }): Promise<{ items: PersonInfo[]; next?: string }>;
  get(id: string): Promise<PersonInfo | undefined>;
  faces(id: string): Promise<FaceInfo[]>;
  /** A person by name; the name's person where there is one. @throws the gallery's ERR_..., with the reason of a refusal */
  enroll(name: string, image: Uint8Array): Promise<Enrolled>;
  rename(id: string, name: string): Promise<PersonInfo>;
  remove(id: string): Promise<boolean>;
  removeFace(id: string, face: string): Promise<boolean>;
  identify(image: Uint8Array, top: number): Promise<Identified[]>;
  verify(id: string, image: Uint8Array): Promise<{ same: boolean; distance: number; threshold: number; box: Face['box']; score: number }>;
  /** For each face who it is, where that is near enough. */
  count(): Promise<number>;
  nearest(features: readonly Float32Array[]): Promise<(Known | undefined)[]>;
  close(): Promise<void>;
}
