import type { Face, FaceRecognizer } from 'faiss-vision';
import { Gallery, type GalleryFace, type ListedPerson } from 'faiss-vision/gallery';
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

/** The gallery as the service uses it. Every failure is the gallery's own. */
export class People {
  readonly #gallery: Gallery;

  constructor(gallery: Gallery) {
    this.#gallery = gallery;
  }

  /** @param file of the database of people; made where there is none */
  static async open(file: string, recognizer: FaceRecognizer, threshold: number | undefined): Promise<People> {
    return new People(await Gallery.open(file, { recognizer, ...(threshold === undefined ? {} : { threshold }) }));
  }

  /** @param search only names with this in them; whole pages of the gallery are looked through, so there may be more than the limit */
  async list(query: { limit: number; cursor?: string | undefined; search?: string | undefined }): Promise<{ items: PersonInfo[]; next?: string }> {
    const { limit, cursor, search = '' } = query;
    const wanted = plain(search);
    const found: PersonInfo[] = [];
    let next = cursor;
    do {
      const page = await this.#gallery.list({ limit, ...(next === undefined ? {} : { cursor: next }) });
      found.push(...page.items.filter(({ name }) => plain(name).includes(wanted)).map(personInfo));
      next = page.next;
    } while (next !== undefined && found.length < limit);
    return { items: found, ...(next === undefined ? {} : { next }) };
  }

  async count(): Promise<number> {
    return (await this.#gallery.describe()).people;
  }

  async get(id: string): Promise<PersonInfo | undefined> {
    const person = await this.#gallery.person({ id });
    return person && personInfo(person);
  }

  async faces(id: string): Promise<FaceInfo[]> {
    return (await this.#gallery.faces({ id })).map(faceInfo);
  }

  /** The one face of a photo, for the person of this name, who is made where there is none. */
  async enroll(name: string, image: Uint8Array): Promise<Enrolled> {
    const { person, created, faces } = await this.#gallery.enroll(name, image);
    const all = await this.faces(person.id);
    const face = all.find(({ id }) => id === faces[0])!;
    return { person: personInfo({ ...person, faces: all.length }), face, created };
  }

  async rename(id: string, name: string): Promise<PersonInfo> {
    const person = await this.#gallery.rename({ id }, name);
    return personInfo({ ...person, faces: (await this.#gallery.faces({ id })).length });
  }

  /** @throws ERR_PERSON_UNKNOWN */
  async remove(id: string): Promise<void> {
    await this.#gallery.remove({ id });
  }

  /** @returns whether the person had this face */
  async removeFace(id: string, face: string): Promise<boolean> {
    if (!(await this.faces(id)).some((each) => each.id === face)) return false;
    await this.#gallery.removeFace(face);
    return true;
  }

  async identify(image: Uint8Array, top: number): Promise<Identified[]> {
    const faces = await this.#gallery.identify(image, { top });
    return faces.map(({ box, score, found, matches }) => ({
      box,
      score,
      known: found,
      matches: matches.map(({ person: { id, name }, score: distance }) => ({ person: { id, name }, distance })),
    }));
  }

  async verify(id: string, image: Uint8Array): Promise<{ same: boolean; distance?: number; threshold: number }> {
    const { same, score, threshold } = await this.#gallery.verify({ id }, image);
    return { same, threshold, ...(score === undefined ? {} : { distance: score }) };
  }

  /** For each face who it is, where somebody is near enough. */
  async nearest(features: readonly Float32Array[]): Promise<(Known | undefined)[]> {
    const { dimension } = this.#gallery.mark;
    const all = new Float32Array(features.length * dimension);
    features.forEach((each, i) => all.set(each, i * dimension));
    const decisions = await this.#gallery.identifyFeatures(all);
    return decisions.map(({ person, matches: [nearest] }) => person && { id: person.id, name: person.name, distance: nearest!.score });
  }

  close(): Promise<void> {
    return this.#gallery.close();
  }
}

/** A name as it is searched: without accents and capital letters. */
function plain(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
}

function personInfo({ id, name, faces, metadata, created, updated }: ListedPerson): PersonInfo {
  return { id, name, faces, metadata, created: created.toISOString(), updated: updated.toISOString() };
}

function faceInfo({ id, created, box, score }: GalleryFace): FaceInfo {
  return { id, created: created.toISOString(), ...(box ? { box } : {}), ...(score === undefined ? {} : { score }) };
}
