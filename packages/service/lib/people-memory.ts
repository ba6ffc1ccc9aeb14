import { randomUUID } from 'node:crypto';
import type { Face, FaceRecognizer } from 'faiss-vision';
import { ServiceError } from './error.js';
import type { FaceInfo, People, PersonInfo } from './people.js';

interface Kept {
  info: PersonInfo;
  faces: (FaceInfo & { features: Float32Array })[];
}

/** People in memory alone, until the gallery is there. */
export function peopleInMemory(recognizer: FaceRecognizer): People {
  const people = new Map<string, Kept>();
  const distance = (a: Float32Array, b: Float32Array) => Math.hypot(...a.map((value, i) => value - b[i]!));
  const search = (features: Float32Array) =>
    [...people.values()]
      .filter(({ faces }) => faces.length > 0)
      .map(({ info, faces }) => ({ person: { id: info.id, name: info.name }, distance: Math.min(...faces.map((face) => distance(face.features, features))) }))
      .sort((a, b) => a.distance - b.distance);
  const one = async (image: Uint8Array): Promise<Face> => {
    const faces = await recognizer.faces(image);
    if (faces.length !== 1) throw new ServiceError(faces.length === 0 ? 'ERR_NO_FACE' : 'ERR_SEVERAL_FACES', `the photo shows ${faces.length} faces, expected one`);
    return faces[0]!;
  };
  const known = (id: string) => {
    const found = people.get(id);
    if (!found) throw new ServiceError('ERR_PERSON_UNKNOWN', `there is nobody with the id "${id}"`);
    return found;
  };
  return {
    list: async () => ({ items: [...people.values()].map(({ info }) => info).sort((a, b) => (a.name < b.name ? -1 : 1)) }),
    get: async (id) => people.get(id)?.info,
    faces: async (id) => known(id).faces.map(({ features: _, ...face }) => face),
    async enroll(name, image) {
      const { box, score, features } = await one(image);
      const now = new Date().toISOString();
      let kept = [...people.values()].find(({ info }) => info.name === name);
      const created = kept === undefined;
      kept ??= { info: { id: randomUUID(), name, faces: 0, metadata: {}, created: now, updated: now }, faces: [] };
      people.set(kept.info.id, kept);
      const face = { id: randomUUID(), created: now, box, score };
      kept.faces.push({ ...face, features });
      kept.info.faces++;
      return { person: kept.info, face, created };
    },
    async rename(id, name) {
      return Object.assign(known(id).info, { name });
    },
    remove: async (id) => people.delete(id),
    async removeFace(id, face) {
      const kept = known(id);
      const at = kept.faces.findIndex((each) => each.id === face);
      if (at >= 0) kept.faces.splice(at, 1);
      kept.info.faces = kept.faces.length;
      return at >= 0;
    },
    async identify(image, top) {
      return (await recognizer.faces(image)).map(({ box, score, features }) => {
        const matches = search(features).slice(0, top);
        return { box, score, matches, known: matches[0] !== undefined && matches[0].distance < recognizer.threshold };
      });
    },
    async verify(id, image) {
      const { faces } = known(id);
      const { box, score, features } = await one(image);
      const nearest = Math.min(...faces.map((face) => distance(face.features, features)));
      return { same: nearest < recognizer.threshold, distance: nearest, threshold: recognizer.threshold, box, score };
    },
    async nearest(features) {
      return features.map((each) => {
        const [match] = search(each);
        return match && match.distance < recognizer.threshold ? { ...match.person, distance: match.distance } : undefined;
      });
    },
    count: async () => people.size,
    close: async () => {},
  };
}
