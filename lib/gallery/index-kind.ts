/** What a gallery's index is made of: FAISS's factory string, and how it searches where it is flat. */
export interface Kind {
  description: string;
  exact: 'bounded' | 'plain';
}

export interface FaceIndexOptions {
  index: string;
  exact: 'bounded' | 'plain' | undefined;
  flatUpTo: number;
}

/** Exact, with labels as ids. */
export const FLAT = 'IDMap,Flat';
/** Up to so many numbers a copy in bytes, 27 % more memory, makes flat search several times faster (docs/exact-search.md). */
const BOUNDED_NUMBERS = 2 ** 25;

/**
 * The kind for so many faces. What is there stays where the size is near a limit, so that growing and shrinking rarely mean building
 * anew.
 */
export function chooseKind(faces: number, dimension: number, options: FaceIndexOptions, present?: Kind): Kind {
  const { index, flatUpTo } = options;
  const flat = flatKind(faces, dimension, options, present);
  if (index === 'flat') return flat;
  if (index !== 'auto') return { description: /IVF|^IDMap/.test(index) ? index : `IDMap,${index}`, exact: flat.exact };
  const had = listsOf(present?.description ?? '') ?? 0;
  if (faces <= (had > 0 ? 0.8 : 1) * flatUpTo) return flat;
  const lists = 2 ** Math.round(Math.log2(2 * Math.sqrt(faces)));
  return { description: `IVF${had >= lists / 2 && had <= lists * 2 ? had : lists},Flat`, exact: 'plain' };
}

export function flatKind(faces: number, dimension: number, { exact }: FaceIndexOptions, present?: Kind): Kind {
  const most = present?.description === FLAT && present.exact === 'plain' ? BOUNDED_NUMBERS / 2 : BOUNDED_NUMBERS;
  return { description: FLAT, exact: exact ?? (faces * dimension <= most ? 'bounded' : 'plain') };
}

/** How many lists an IVF with whole vectors has; undefined for any other index. */
export function listsOf(description: string): number | undefined {
  const lists = /^IVF(\d+),Flat$/.exec(description)?.[1];
  return lists === undefined ? undefined : Number(lists);
}
