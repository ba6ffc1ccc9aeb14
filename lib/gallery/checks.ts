import { invalid } from '../image/check';
import { FaissVisionError } from '../error';
import type { Metadata, MetadataFilter, PersonRef } from './types';

const NAME_BYTES = 1024;
const METADATA_BYTES = 64 * 1024;

/**
 * A name as it is kept: in Unicode's composed form, so that two ways to type an accent are one name. Marks of direction stay, they
 * are part of right-to-left names; control characters would end a C string or a line somewhere.
 */
export function checkName(name: unknown, argument = 'name'): string {
  if (typeof name !== 'string') throw invalid(argument, 'a name', name);
  const kept = name.normalize('NFC');
  const bytes = Buffer.byteLength(kept);
  if (kept.trim() === '' || bytes > NAME_BYTES) {
    throw invalid(argument, `a name of 1 to ${NAME_BYTES} bytes of UTF-8`, bytes > NAME_BYTES ? `${bytes} bytes` : name);
  }
  if (/[\u0000-\u001f\u007f-\u009f]/.test(kept)) throw invalid(argument, 'a name without control characters', name);
  if (/\p{Surrogate}/u.test(kept)) throw invalid(argument, 'a name without halves of characters (lone surrogates)', name);
  return kept;
}

export function checkId(id: unknown, argument: string): string {
  if (typeof id === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(id)) return id;
  throw invalid(argument, '1 to 64 of the characters A-Z a-z 0-9 . _ -', id);
}

/** A person by name or id, checked. */
export function checkRef(person: PersonRef): { id: string } | { name: string } {
  if (typeof person === 'string') return { name: checkName(person, 'person') };
  if (typeof person !== 'object' || person === null) throw invalid('person', 'a name, or an object with an id', person);
  return { id: checkId(person.id, 'person.id') };
}

/** The metadata as a copy that holds nothing but JSON. */
export function checkMetadata(metadata: unknown, argument = 'metadata'): Metadata {
  const what = `a JSON object of at most ${METADATA_BYTES} bytes`;
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) throw invalid(argument, what, metadata);
  let text: string;
  try {
    text = JSON.stringify(metadata);
  } catch (error) {
    throw new FaissVisionError('ERR_INVALID_ARGUMENT', `\`${argument}\` must be ${what}: ${(error as Error).message.split('\n')[0]}`, {
      cause: error,
    });
  }
  if (text === undefined || text[0] !== '{') throw invalid(argument, what, metadata);
  const bytes = Buffer.byteLength(text);
  if (bytes > METADATA_BYTES) throw invalid(argument, what, `${bytes} bytes`);
  return JSON.parse(text) as Metadata;
}

export function checkFilter(filter: unknown): MetadataFilter | undefined {
  if (filter === undefined) return undefined;
  if (typeof filter !== 'object' || filter === null || Array.isArray(filter)) throw invalid('filter', 'an object of keys and values', filter);
  for (const [key, wanted] of Object.entries(filter)) {
    for (const value of Array.isArray(wanted) ? wanted : [wanted]) {
      if (!['string', 'number', 'boolean'].includes(typeof value))
        throw invalid(`filter.${key}`, 'a string, number or boolean, or some of them', wanted);
    }
  }
  return filter as MetadataFilter;
}

/** Whether metadata say what a filter wants; the one meaning for every store. */
export function passes(filter: MetadataFilter, metadata: Metadata): boolean {
  return Object.entries(filter).every(([key, wanted]) => {
    if (!Object.hasOwn(metadata, key)) return false;
    const value = metadata[key];
    return Array.isArray(wanted) ? wanted.some((one) => one === value) : wanted === value;
  });
}

export function checkCount(value: unknown, argument: string, most: number): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most) return value as number;
  throw invalid(argument, `a whole number from 1 to ${most}`, value);
}

/**
 * Features as they are kept and compared: a copy of n x dimension finite numbers, of length 1 each where they are compared by angle.
 * @throws ERR_DIMENSION_MISMATCH, ERR_NOT_FINITE, ERR_EMPTY_INPUT, ERR_INVALID_ARGUMENT
 */
export function checkFeatures(
  features: unknown,
  { dimension, metric }: { dimension: number; metric: 'l2' | 'cosine' },
  argument = 'features',
): Float32Array {
  if (!(features instanceof Float32Array)) throw invalid(argument, 'a Float32Array', features);
  if (features.length === 0) throw new FaissVisionError('ERR_EMPTY_INPUT', `\`${argument}\` has no numbers`);
  if (features.length % dimension !== 0) {
    throw new FaissVisionError('ERR_DIMENSION_MISMATCH', `\`${argument}\` must have a multiple of ${dimension} numbers, got ${features.length}`);
  }
  const kept = Float32Array.from(features);
  const bad = kept.findIndex((number) => !Number.isFinite(number));
  if (bad !== -1) throw new FaissVisionError('ERR_NOT_FINITE', `\`${argument}\` must be finite numbers, got ${kept[bad]} at ${bad}`);
  if (metric === 'l2') return kept;
  for (let at = 0; at < kept.length; at += dimension) {
    const one = kept.subarray(at, at + dimension);
    const length = Math.sqrt(one.reduce((sum, number) => sum + number * number, 0));
    if (length === 0) throw new FaissVisionError('ERR_INVALID_ARGUMENT', `\`${argument}\` must not be all zeros where the metric is cosine`);
    one.forEach((number, i) => (one[i] = number / length));
  }
  return kept;
}

export function checkSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined || typeof signal?.throwIfAborted === 'function') return signal;
  throw invalid('signal', 'an AbortSignal', signal);
}
