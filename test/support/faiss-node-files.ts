// Files as faiss::write_index lays them out, put together from the format's definition (faiss/impl/index_write.cpp).
// Little endian; a vector of values is its length as a u64 and the values.

const METRIC = { ip: 0, l2: 1 };
type Metric = keyof typeof METRIC;

const u8 = (...values: number[]) => Buffer.from(values);
const i32 = (...values: number[]) => Buffer.from(Int32Array.from(values).buffer);
const u64 = (...values: number[]) => Buffer.from(BigInt64Array.from(values, BigInt).buffer);
const f32 = (...values: number[]) => Buffer.from(Float32Array.from(values).buffer);
const f64 = (...values: number[]) => Buffer.from(Float64Array.from(values).buffer);
const counted = (n: number, values: Buffer) => Buffer.concat([u64(n), values]);

function header(fourcc: string, d: number, n: number, metric: Metric): Buffer {
  const unused = 2 ** 20;
  return Buffer.concat([Buffer.from(fourcc, 'latin1'), i32(d), u64(n, unused, unused), u8(1), i32(METRIC[metric])]);
}

export function flatFile(d: number, vectors: number[], metric: Metric = 'l2'): Buffer {
  const fourcc = metric === 'ip' ? 'IxFI' : 'IxF2';
  return Buffer.concat([header(fourcc, d, vectors.length / d, metric), counted(vectors.length, f32(...vectors))]);
}

/** A graph of one layer in which every vector knows up to `degree` others, the next ones in a ring. */
export function hnswFile(d: number, vectors: number[], degree: number): Buffer {
  const n = vectors.length / d;
  const each = Array.from({ length: n }, (_, i) => i);
  const neighbours = each.flatMap((i) => Array.from({ length: degree }, (_, j) => (j < n - 1 ? (i + j + 1) % n : -1)));
  return Buffer.concat([
    header('IHNf', d, n, 'l2'),
    counted(1, f64(1)), // the probability of each layer
    counted(2, i32(0, degree)), // neighbours up to each layer
    counted(n, i32(...each.map(() => 1))), // layers of each vector
    counted(n + 1, u64(...each.map((i) => i * degree), n * degree)), // where its neighbours begin
    counted(neighbours.length, i32(...neighbours)),
    i32(0, 0, 40, 16, 1), // entry point, highest layer, efConstruction, efSearch, beam
    flatFile(d, vectors),
  ]);
}

export function ivfFile(d: number, centroids: number[], lists: { ids: number[]; vectors: number[] }[]): Buffer {
  const sizes = lists.map(({ ids }) => ids.length);
  return Buffer.concat([
    header('IwFl', d, sizes.reduce((a, b) => a + b), 'l2'),
    u64(lists.length, 1), // nlist, nprobe
    flatFile(d, centroids),
    u8(0), u64(0), // no map of where an id lies
    Buffer.from('ilar'), u64(lists.length, d * 4), Buffer.from('full'),
    counted(sizes.length, u64(...sizes)),
    ...lists.flatMap(({ ids, vectors }) => [f32(...vectors), u64(...ids)]),
  ]);
}
