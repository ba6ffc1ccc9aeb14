/** Ids are whole numbers: from 0 to 2^53 - 1 for an `Ann`, to 2^63 - 1 for an `Index`. */
export type Ids = number | bigint | readonly (number | bigint)[] | BigInt64Array;

/** A set of ids: a list, all with `from` <= id < `to`, or a bitmap in which bit id % 8 of byte id >> 3 stands for an id. */
export type IdSet = Ids | { from: number | bigint; to: number | bigint } | Uint8Array;

/** The ids that a search may find. */
export type Filter = { keep: IdSet; leaveOut?: undefined } | { leaveOut: IdSet; keep?: undefined };
