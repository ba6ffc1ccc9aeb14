import type { GalleryFace, ListedPerson, Match, Metadata, MetadataFilter, ModelMark, Person, StoredFace } from './types';

/** A face to be kept; the caller makes its id, so that a repeated call changes nothing. */
export type NewFace = Omit<StoredFace, 'person'>;

/** One person's new faces. They are kept all or none. */
export interface Enrolment {
  /** The id of the person, or the one to give where the person has to be made. */
  id: string;
  name: string;
  /** For a person who has to be made; of one who is there it changes nothing. Default {} */
  metadata?: Metadata | undefined;
  /** Default: now. */
  created?: Date | undefined;
  /** Default: `created`. */
  updated?: Date | undefined;
  /** May be empty: a person without faces. */
  faces: readonly NewFace[];
}

export interface EnrollOptions {
  /**
   * What to do where nobody has the id and somebody else has the name: `'add'` the faces to that person, as `Gallery.enroll` does,
   * or `'refuse'` with ERR_NAME_TAKEN, as an import does.
   */
  sameName: 'add' | 'refuse';
}

export interface Enrolled {
  person: Person;
  /** Whether the person was made by this call. */
  created: boolean;
  /** How many faces were new; the others had been kept before. */
  added: number;
}

export interface SearchOptions {
  /** Only people whose metadata say so. */
  filter?: MetadataFilter | undefined;
  /** Only these people, by id. */
  people?: readonly string[] | undefined;
  signal?: AbortSignal | undefined;
}

export interface ListOptions {
  /** Where to go on: what the page before gave as `next`. */
  cursor?: string | undefined;
  /** Most people in a page, from 1 to 1,000. */
  limit: number;
  filter?: MetadataFilter | undefined;
}

export interface Page<T> {
  items: T[];
  /** The next page's cursor; not there on the last page. */
  next?: string;
}

/** Somebody whole: what is exported and copied. */
export interface Entry {
  person: Person;
  faces: StoredFace[];
}

export interface StoreDescription {
  /** Such as `'sqlite'` or `'milvus'`. */
  store: string;
  people: number;
  faces: number;
  /** Whether features are encrypted in the file. */
  encrypted?: boolean;
  /** What the store searches by, how, and with what recall; free for each store. */
  index: Record<string, unknown>;
}

/** What every store is opened with. */
export interface StoreOptions {
  /**
   * A store that has another one refuses with ERR_MODEL_MISMATCH; a new one takes it over. Without, the store's own: for what needs
   * no recogniser, and for a change of model; a store that is not there is then ERR_GALLERY_NOT_FOUND.
   */
  mark?: ModelMark | undefined;
}

/**
 * What keeps people and their faces, and finds the nearest. `Gallery` does the rest (photos, quality, decisions), so a store sees
 * checked arguments only: ids and names as `Person` says, features of the right length, finite, and of length 1 for `'cosine'`.
 *
 * - What a call has resolved for is kept, whatever happens to the process afterwards; what rejected has changed nothing, or may be
 *   repeated with the same ids without being done twice.
 * - Calls may overlap. A search that starts after a change has resolved sees it.
 * - Every failure is a `FaissVisionError`. Common codes: ERR_PERSON_UNKNOWN, ERR_NAME_TAKEN, ERR_ID_TAKEN (the id is there with
 *   something else), ERR_MODEL_MISMATCH, ERR_GALLERY_READONLY, ERR_GALLERY_FULL (no space), ERR_GALLERY_BUSY, ERR_GALLERY_CORRUPT,
 *   ERR_GALLERY_VERSION, ERR_GALLERY_FOREIGN, ERR_GALLERY_UNREACHABLE (a server),
 *   ERR_GALLERY_DENIED (its token), ERR_GALLERY_REFUSED (whatever else it says no to), ERR_CLOSED.
 */
export interface Store {
  /** The model whose features are kept. */
  readonly mark: ModelMark;

  /**
   * Keeps people and faces: each enrolment whole or not at all, in the order given. A face whose id this person has already is left
   * as it is. The person is the one with the id; where there is none, see `sameName`; where nobody has the name either, a new one.
   * @throws ERR_NAME_TAKEN, ERR_ID_TAKEN where the face's id is another person's
   */
  enroll(enrolments: readonly Enrolment[], options: EnrollOptions): Promise<Enrolled[]>;

  /**
   * The people nearest to each of n faces, best first. A person's score is that of their nearest face; that rule makes several faces
   * of a person count together, and each person comes once. Names and metadata are those at the end of the search.
   * @param features n x dimension numbers
   * @param top most people for each face, from 1 to 100
   * @returns n lists; shorter than `top` where there are fewer people
   */
  search(features: Float32Array, top: number, options?: SearchOptions): Promise<Match[][]>;

  /** One person, by id or by name. */
  person(key: { id: string } | { name: string }): Promise<ListedPerson | undefined>;

  /** People in the order of their names' UTF-8 bytes. */
  list(options: ListOptions): Promise<Page<ListedPerson>>;

  /** A person's faces in the order of their enrolment; none where nobody has the id. */
  faces(person: string): Promise<GalleryFace[]>;

  /** Changes what is given. @throws ERR_PERSON_UNKNOWN, ERR_NAME_TAKEN */
  update(person: string, change: { name?: string; metadata?: Metadata }): Promise<Person>;

  /**
   * Removes a person with all faces, so that nothing of them is left in any file.
   * @returns how many faces there were; undefined where nobody has the id
   */
  removePerson(person: string): Promise<number | undefined>;

  /** Removes one face; its person stays. @returns whether there was one */
  removeFace(face: string): Promise<boolean>;

  /**
   * Everybody with all faces and features, in the order of `list`, as of some moment each. For export and copies.
   * @param after begins behind this name
   */
  entries(options?: { after?: string | undefined }): AsyncIterable<Entry>;

  /**
   * For a change of model: faces that have no new features yet, a page at a time, with thumbnails. Repeated calls go on as faces get
   * new ones through `stage`; an empty page is the end.
   */
  unstaged(mark: ModelMark, limit: number, after?: string): Promise<GalleryFace[]>;

  /**
   * Keeps new features beside the present ones, which stay in use. Those of another mark that were kept so are dropped. Faces that
   * are gone by now are passed over.
   */
  stage(mark: ModelMark, faces: readonly { id: string; features: Float32Array }[]): Promise<void>;

  /**
   * Puts the kept features in place of the present ones, all at once, and the mark with them.
   * @throws ERR_REEMBED_INCOMPLETE where a face has none
   */
  adopt(mark: ModelMark): Promise<void>;

  describe(): Promise<StoreDescription>;

  /** Waits for what is under way. */
  close(): Promise<void>;
}
