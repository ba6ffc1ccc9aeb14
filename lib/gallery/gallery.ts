import { randomUUID } from 'node:crypto';
import { Calls, Places } from '../calls';
import { FaissVisionError } from '../error';
import type { Face } from '../face';
import { decode, photosAtOnce, type ImageInput, type Pixels } from '../image';
import { invalid } from '../image/check';
import { checkCount, checkFeatures, checkFilter, checkId, checkMetadata, checkName, checkRef, checkSignal } from './checks';
import { openStore } from './open-store';
import type {
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
import { checkQuality, FaceQualityError, measure, type Quality, requireQuality, thumbnailOf } from './quality';
import { markOf } from './recognizer';
import { reembed, type ReembedOptions, type Reembedded } from './reembed';
import type { NewFace, Page, Store } from './store';
import { copyAll, exportTo, importFrom, type ImportOptions, type TransferOptions, type Transferred } from './transfer';
import type { GalleryFace, ListedPerson, Metadata, MetadataFilter, ModelMark, Person, PersonRef } from './types';

/**
 * People and their faces, kept: in one SQLite file, or on a Milvus server. What a call has resolved for survives whatever happens to
 * the process.
 */
export class Gallery {
  readonly #store: Store;
  readonly #options: GalleryOptions;
  readonly #calls = new Calls('Gallery');
  readonly #places: Places;

  private constructor(store: Store, options: GalleryOptions) {
    this.#store = store;
    this.#options = options;
    this.#places = new Places(photosAtOnce(options.recognizer?.device));
  }

  /**
   * Opens a gallery, or makes one.
   * @param location the path of an SQLite file, or `milvus://host:port/name`
   * @throws ERR_SQLITE_UNAVAILABLE without better-sqlite3, ERR_MODEL_MISMATCH where its features are another model's, ERR_GALLERY_FOREIGN
   * for another program's file, ERR_GALLERY_VERSION for one of a newer version, ERR_GALLERY_CORRUPT, ERR_GALLERY_KEY,
   * ERR_GALLERY_NOT_FOUND without a recogniser, ERR_GALLERY_OPEN, ERR_INVALID_ARGUMENT; on a server ERR_MILVUS_UNAVAILABLE without its
   * package, ERR_GALLERY_UNREACHABLE, ERR_GALLERY_DENIED, ERR_GALLERY_REFUSED
   */
  static async open(location: string, options: GalleryOptions = {}): Promise<Gallery> {
    if (typeof options !== 'object' || options === null) throw invalid('options', 'an object', options);
    const { recognizer, threshold } = options;
    if (threshold !== undefined && !Number.isFinite(threshold)) throw invalid('threshold', 'a number', threshold);
    checkQuality(options.quality);
    const mark = recognizer === undefined ? undefined : await markOf(recognizer);
    return new Gallery(await openStore(location, { ...options, mark }), { ...options });
  }

  /**
   * Embeds every face anew by another recogniser and makes that the gallery's, all at once at the end: until then the gallery is as it
   * was, and can be used. Called again after an interruption it goes on. Features of the two are never compared.
   * @throws ERR_REEMBED_INCOMPLETE where faces have neither a thumbnail nor a photo, or none is found in it
   */
  static async reembed(location: string, options: ReembedOptions): Promise<Reembedded> {
    return reembed(location, options);
  }

  /** The model whose features are kept. */
  get mark(): ModelMark {
    return this.#store.mark;
  }

  /** The score that decides; undefined in a gallery that was opened without a recogniser and a threshold. */
  get threshold(): number | undefined {
    return this.#options.threshold ?? this.#options.recognizer?.threshold;
  }

  /**
   * Adds one face from each photo to a person, whom it makes where nobody has that name. All photos are enrolled or none, but for
   * `skipRefused`.
   * @throws ERR_NO_FACE, ERR_MANY_FACES, ERR_FACE_QUALITY with the reason and what was measured (`FaceQualityError`),
   * ERR_PERSON_UNKNOWN for an id that nobody has, ERR_NO_RECOGNIZER, what reading a photo throws, ERR_ID_TAKEN, ERR_GALLERY_FULL,
   * ERR_GALLERY_READONLY, ERR_GALLERY_BUSY, ERR_INVALID_ARGUMENT, ERR_CLOSED
   */
  async enroll(person: PersonRef, photos: ImageInput | readonly ImageInput[], options: EnrollPhotoOptions = {}): Promise<Enrollment> {
    const list: readonly ImageInput[] = Array.isArray(photos) ? photos : [photos as ImageInput];
    const { skipRefused = false, signal, faceIds } = options;
    const limits = options.quality === undefined ? checkQuality(this.#options.quality) : checkQuality(options.quality);
    const which = checkWhich(options.faces ?? 'one');
    const ids = checkFaceIds(faceIds, list.length);
    checkSignal(signal);
    return this.#calls.run(async () => {
      const refused: RefusedPhoto[] = [];
      const faces: NewFace[] = [];
      for (const [photo, image] of list.entries()) {
        signal?.throwIfAborted();
        try {
          const name = list.length === 1 ? 'image' : `photos[${photo}]`;
          faces.push(await this.#places.hold((turn) => this.#faceOf(image, { name, id: ids[photo]!, which, limits, turn })));
        } catch (error) {
          if (!skipRefused || !isRefusal(error)) throw error;
          refused.push({
            photo,
            code: error.code,
            message: error.message,
            ...(error instanceof FaceQualityError ? { measured: error.measured } : {}),
          });
        }
      }
      signal?.throwIfAborted();
      return { ...(await this.#keep(person, faces, options)), refused };
    });
  }

  /**
   * The same for faces that were embedded elsewhere, by the gallery's own model.
   * @param features n x dimension numbers
   * @throws ERR_DIMENSION_MISMATCH, ERR_NOT_FINITE, and as `enroll`
   */
  async enrollFeatures(person: PersonRef, features: Float32Array, options: EnrollFeaturesOptions = {}): Promise<Enrollment> {
    const kept = checkFeatures(features, this.mark);
    const { dimension } = this.mark;
    const ids = checkFaceIds(options.faceIds, kept.length / dimension);
    const created = new Date();
    const faces = ids.map((id, i): NewFace => ({ id, created, features: kept.slice(i * dimension, (i + 1) * dimension) }));
    return this.#calls.run(async () => ({ ...(await this.#keep(person, faces, options)), refused: [] }));
  }

  /**
   * Who is in a photo: each face, largest first, with the nearest people. A person's score is that of their nearest face.
   * @throws ERR_NO_RECOGNIZER, what reading a photo throws, ERR_INVALID_ARGUMENT, ERR_CLOSED, the signal's reason
   */
  async identify(image: ImageInput, options: IdentifyOptions = {}): Promise<Identification[]> {
    const { maxFaces, signal } = options;
    checkSignal(signal)?.throwIfAborted();
    return this.#calls.run(async () => {
      const faces = await this.#recognize(image, maxFaces === undefined ? {} : { maxFaces });
      signal?.throwIfAborted();
      if (faces.length === 0) return [];
      const { dimension } = this.mark;
      const all = new Float32Array(faces.length * dimension);
      faces.forEach(({ features }, i) => all.set(features, i * dimension));
      const decisions = await this.#decide(all, options);
      return faces.map(({ box, landmarks, score }, i) => ({ box, landmarks, score, ...decisions[i]! }));
    });
  }

  /** The same for n faces that were embedded elsewhere. @param features n x dimension numbers */
  async identifyFeatures(features: Float32Array, options: Omit<IdentifyOptions, 'maxFaces'> = {}): Promise<Identified[]> {
    checkSignal(options.signal)?.throwIfAborted();
    return this.#calls.run(() => this.#decide(features, options));
  }

  /** Whether a photo shows this person. @throws ERR_PERSON_UNKNOWN, ERR_NO_FACE, ERR_MANY_FACES, and as `identify` */
  async verify(person: PersonRef, image: ImageInput, options: VerifyOptions = {}): Promise<Verification> {
    const which = checkWhich(options.faces ?? 'largest');
    checkSignal(options.signal)?.throwIfAborted();
    return this.#calls.run(async () => {
      const who = await this.#require(person);
      const face = one(await this.#recognize(image, which === 'one' ? {} : { maxFaces: 1 }), 'image', which);
      options.signal?.throwIfAborted();
      return this.#verify(who, face.features, options);
    });
  }

  /** The same for a face that was embedded elsewhere. @param features dimension numbers */
  async verifyFeatures(person: PersonRef, features: Float32Array, options: Omit<VerifyOptions, 'faces'> = {}): Promise<Verification> {
    return this.#calls.run(async () => this.#verify(await this.#require(person), features, options));
  }

  /** One person; undefined where there is none. */
  async person(person: PersonRef): Promise<ListedPerson | undefined> {
    const key = checkRef(person);
    return this.#calls.run(() => this.#store.person(key));
  }

  /** A page of people, by name. */
  async list({ cursor, limit = 100, filter }: GalleryListOptions = {}): Promise<Page<ListedPerson>> {
    if (cursor !== undefined && typeof cursor !== 'string') throw invalid('cursor', 'what the page before gave as `next`', cursor);
    checkCount(limit, 'limit', 1000);
    checkFilter(filter);
    return this.#calls.run(() => this.#store.list({ cursor, limit, filter }));
  }

  /** Everybody, by name, read a page at a time. */
  async *people(options: { filter?: MetadataFilter } = {}): AsyncGenerator<ListedPerson> {
    let page = await this.list({ ...options, limit: 1000 });
    for (;;) {
      yield* page.items;
      if (page.next === undefined) return;
      page = await this.list({ ...options, limit: 1000, cursor: page.next });
    }
  }

  /** A person's faces, in the order of their enrolment. @throws ERR_PERSON_UNKNOWN */
  async faces(person: PersonRef): Promise<GalleryFace[]> {
    return this.#calls.run(async () => this.#store.faces((await this.#require(person)).id));
  }

  /** @throws ERR_PERSON_UNKNOWN, ERR_NAME_TAKEN */
  async rename(person: PersonRef, name: string): Promise<Person> {
    const checked = checkName(name);
    return this.#calls.run(async () => this.#store.update((await this.#require(person)).id, { name: checked }));
  }

  /** Puts other metadata in place of a person's. @throws ERR_PERSON_UNKNOWN */
  async setMetadata(person: PersonRef, metadata: Metadata): Promise<Person> {
    const checked = checkMetadata(metadata);
    return this.#calls.run(async () => this.#store.update((await this.#require(person)).id, { metadata: checked }));
  }

  /**
   * Forgets a person: once this has resolved, no file of the gallery has anything of them.
   * @returns how many faces there were
   * @throws ERR_PERSON_UNKNOWN
   */
  async remove(person: PersonRef): Promise<number> {
    return this.#calls.run(async () => {
      const { id } = await this.#require(person);
      return (await this.#store.removePerson(id)) ?? unknownPerson(person);
    });
  }

  /** Forgets one face; its person stays, even without any. @throws ERR_FACE_UNKNOWN */
  async removeFace(face: string): Promise<void> {
    const id = checkId(face, 'face');
    return this.#calls.run(async () => {
      if (!(await this.#store.removeFace(id))) throw new FaissVisionError('ERR_FACE_UNKNOWN', `no face has the id ${id}`);
    });
  }

  /**
   * Writes everybody to a file of JSON lines, with features and thumbnails, readable by whoever may read the file. The old file or the
   * new one is there at any moment.
   * @throws ERR_FILE_WRITE, ERR_CLOSED, the signal's reason
   */
  async export(file: string, options: TransferOptions = {}): Promise<Transferred> {
    return this.#calls.run(() => exportTo(this.#store, file, options));
  }

  /**
   * Takes over everybody from such a file, each person whole or not at all. Who is there already gets the faces that are missing, so an
   * interrupted import is repeated.
   * @throws ERR_IMPORT_CORRUPT for a file that was cut or changed, before anything is taken over; ERR_MODEL_MISMATCH, ERR_NAME_TAKEN,
   * ERR_FILE_NOT_FOUND
   */
  async import(file: string, options: ImportOptions = {}): Promise<Transferred> {
    return this.#calls.run(() => importFrom(this.#store, file, options));
  }

  /** Copies everybody into another gallery, of whatever store, as an import does; interrupted, it is repeated. */
  async copyTo(other: Gallery, options: ImportOptions = {}): Promise<Transferred> {
    if (!(other instanceof Gallery)) throw invalid('other', 'a Gallery', other);
    return this.#calls.run(() => other.#calls.run(() => copyAll(this.#store, other.#store, options)));
  }

  /** How much there is, and what it is searched by. */
  async describe(): Promise<GalleryDescription> {
    return this.#calls.run(async () => {
      const { threshold } = this;
      return { ...(await this.#store.describe()), mark: this.mark, ...(threshold === undefined ? {} : { threshold }) };
    });
  }

  /** Waits for everything that was called before. Later calls reject with ERR_CLOSED. */
  async close(): Promise<void> {
    await this.#calls.close();
    await this.#store.close();
  }

  async #recognize(image: ImageInput | Pixels, options: { maxFaces?: number } = {}): Promise<Face[]> {
    const { recognizer } = this.#options;
    if (recognizer?.faces === undefined) {
      throw new FaissVisionError('ERR_NO_RECOGNIZER', 'this Gallery was opened without a recogniser, so it has no eye for photos; open it with one');
    }
    return recognizer.faces(image, options);
  }

  async #faceOf(
    image: ImageInput,
    { name, id, which, limits, turn }: { name: string; id: string; which: 'one' | 'largest'; limits: Quality | undefined; turn: () => Promise<void> },
  ): Promise<NewFace> {
    const pixels = await decode(image, name, { maxPixels: this.#options.recognizer?.maxPixels, turn });
    const face = one(await this.#recognize(pixels), name, which);
    if (limits !== undefined) requireQuality(await measure(pixels, face), limits, name);
    return {
      ...{ id, created: new Date(), box: face.box, score: face.score },
      features: checkFeatures(face.features, this.mark, 'recognizer.faces().features'),
      ...(this.#options.thumbnails === true ? { thumbnail: await thumbnailOf(pixels, face) } : {}),
    };
  }

  async #keep(person: PersonRef, faces: NewFace[], { metadata, id: wanted }: EnrollFeaturesOptions): Promise<Omit<Enrollment, 'refused'>> {
    const key = checkRef(person);
    const [id, name] =
      'id' in key ? [key.id, (await this.#require(person)).name] : [wanted === undefined ? randomUUID() : checkId(wanted, 'id'), key.name];
    const enrolment = { id, name, faces, metadata: metadata === undefined ? undefined : checkMetadata(metadata) };
    if (faces.length === 0) throw new FaissVisionError('ERR_NO_FACE', `none of the photos of ${JSON.stringify(name)} could be enrolled`);
    const [kept] = await this.#store.enroll([enrolment], { sameName: 'add' });
    return { ...kept!, faces: faces.map((face) => face.id) };
  }

  async #require(person: PersonRef): Promise<ListedPerson> {
    return (await this.#store.person(checkRef(person))) ?? unknownPerson(person);
  }

  async #decide(features: Float32Array, { top = 1, filter, threshold, signal }: IdentifyOptions): Promise<Identified[]> {
    const decides = this.#threshold(threshold);
    checkCount(top, 'top', 100);
    const x = checkFeatures(features, this.mark);
    const found = await this.#store.search(x, top, { filter: checkFilter(filter), signal });
    return found.map((matches) => {
      const [nearest] = matches;
      if (nearest === undefined || !this.#isNear(nearest.score, decides)) return { found: false, matches };
      return { found: true, person: nearest.person, matches };
    });
  }

  async #verify(person: Person, features: Float32Array, { threshold: given, signal }: VerifyOptions): Promise<Verification> {
    const threshold = this.#threshold(given);
    const x = checkFeatures(features, this.mark);
    if (x.length !== this.mark.dimension) throw invalid('features', 'those of one face', `${x.length / this.mark.dimension} faces`);
    const [[nearest] = []] = await this.#store.search(x, 1, { people: [person.id], signal });
    if (nearest === undefined) return { same: false, person, threshold };
    return { same: this.#isNear(nearest.score, threshold), person: nearest.person, score: nearest.score, face: nearest.face, threshold };
  }

  #isNear(score: number, threshold: number): boolean {
    return this.mark.metric === 'l2' ? score < threshold : score > threshold;
  }

  #threshold(given: number | undefined): number {
    const threshold = given ?? this.threshold;
    if (typeof threshold === 'number' && Number.isFinite(threshold)) return threshold;
    throw invalid('threshold', 'a number, given here, when opening, or by the recogniser', threshold);
  }
}

function one(faces: Face[], name: string, which: 'one' | 'largest'): Face {
  const [largest] = faces;
  if (largest === undefined) throw new FaissVisionError('ERR_NO_FACE', `${name}: no face was found`);
  if (which === 'one' && faces.length > 1) {
    throw new FaissVisionError(
      'ERR_MANY_FACES',
      `${name}: exactly one face is wanted, ${faces.length} were found; \`faces: 'largest'\` takes the largest`,
    );
  }
  return largest;
}

function checkWhich(which: unknown): 'one' | 'largest' {
  if (which === 'one' || which === 'largest') return which;
  throw invalid('faces', "'one' or 'largest'", which);
}

function checkFaceIds(ids: readonly string[] | undefined, count: number): string[] {
  if (count === 0) throw invalid('photos', 'at least one photo', '0');
  if (ids === undefined) return Array.from({ length: count }, () => randomUUID());
  if (!Array.isArray(ids) || ids.length !== count || new Set(ids).size !== count)
    throw invalid('faceIds', `${count} different ids, one for each face`, ids);
  return ids.map((id, i) => checkId(id, `faceIds[${i}]`));
}

/** What is refused because of the photo: another one would do. @internal */
export const REFUSALS: ReadonlySet<string> = new Set(['ERR_NO_FACE', 'ERR_MANY_FACES', 'ERR_FACE_QUALITY']);
const isRefusal = (error: unknown): error is FaissVisionError => error instanceof FaissVisionError && REFUSALS.has(error.code);

function unknownPerson(person: PersonRef): never {
  const who = typeof person === 'string' ? `is named ${JSON.stringify(person)}` : `has the id ${person.id}`;
  throw new FaissVisionError('ERR_PERSON_UNKNOWN', `nobody ${who}`);
}
