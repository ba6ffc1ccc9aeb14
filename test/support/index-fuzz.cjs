// Makes indexes of generated descriptions, most of them of FAISS's grammar and some of them hostile, and does everything
// that an index can do with each. Prints a line before each and the outcome behind it, so that whoever started it knows
// which one ended it. In a process of its own: node index-fuzz.cjs SEED COUNT
const { mkdtempSync, rmSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const { Index, BinaryIndex } = require('faiss-vision/ann');

const d = 16;
const n = 600;

let state = 0;
function random() {
  state = (state + 0x6d2b79f5) >>> 0;
  let x = Math.imul(state ^ (state >>> 15), state | 1);
  x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
  return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
}
const below = (count) => Math.floor(random() * count);
const one = (...choices) => choices[below(choices.length)];
const call = (choice) => (typeof choice === 'function' ? choice() : choice);
const any = (...choices) => call(one(...choices));

/** Mostly numbers that make sense somewhere, and at times one that does not. */
const number = () => (random() < 0.93
  ? one('1', '2', '4', '8', '16', '3', '5', '7', '12', '15', '17', '24', '32', '33', '48', '64')
  : one('', '0', '00', '01', '100', '256', '600', '1000', '4096', '65535', '65536', '1048576', '67108864', '99999999', '2147483647', '2147483648', '4294967296', '99999999999999999999', '-1', '1e9', '0x10'));
const size = () => (random() < 0.8 ? one('2', '4', '8', '16') : number());
const bits = () => (random() < 0.8 ? one('2', '4', '5', '6', '8') : number());
const norm = () => (random() < 0.5 ? '' : '_N' + one('none', 'float', 'qint8', 'qint4', 'cqint8', 'cqint4', 'lsq2x4', 'rq2x4', 'xyz'));
const block = () => (random() < 0.7 ? '' : '_' + any('32', '64', '96', '33', '0', number));
const sq = () => 'SQ' + one('4', '8', '6', 'fp16', 'bf16', '8_direct', '4U', '', '8');
// Without "np" FAISS orders the codes, which takes many seconds where there are many.
const pq = () => `PQ${size()}${any('np', () => `x${one('1', '2', '3')}`, () => `x${bits()}np`)}`;
const pqFast = () => `PQ${size()}x4fs${one('', 'r')}${block()}`;
const rq = () => any(() => `${one('RQ', 'RCQ')}${one('1', '2', '3', '4')}x${bits()}${norm()}`, () => `RQ${one('1x4_2x2', '2x3_1x5', '1x4,1x4', '1x0', '0x4')}${norm()}`, () => `RQ${one('2', '4', '3')}x4fs${block()}${norm()}`);
const lsq = () => any(() => `${one('LSQ', 'LSCQ')}${one('1', '2', '3')}x${one('2', '4', '3', '0')}${norm()}`, () => `LSQ2x4fs${block()}${norm()}`);
const product = () => any(() => `${one('PRQ', 'PRQ', 'PLSQ')}${one('1', '2', '3', '4')}x${one('1', '2')}x${one('2', '4', '0')}${norm()}`, () => `${one('PRQ', 'PLSQ')}2x2x4fs${block()}${norm()}`);
const sh = () => `${one('ITQ', 'PCA', 'PCAR')}${any('', number)},SH${one('', '-1', '2.5', '1e9', '.', '-', 'e', '0', 'nan')}${one('', 'g', 'c', 'm')}`;
const coarse = () => any(
  () => `IVF${size()}`, () => `IVF${size()}`, () => `IVF${size()}`, () => `IVF${size()}_HNSW${one('', '4', '32', '0', '1')}`, () => `IVF${size()}_NSG${any('8', number)}`,
  () => `IMI2x${one('1', '2', '3', '4', '0', '13')}`, () => `IVF${size()}(${index(2)})`, () => `Residual${size()}`, () => `Residual${one('1', '2', '3')}x${one('1', '2', '3', '20')}`, () => `IVF${size()}(Index${below(4)})`,
);
const ivf = () => `${coarse()},${any('Flat', 'Flat', 'FlatDedup', sq, sq, pq, pq, pqFast, pqFast, rq, lsq, product, sh, () => `PQ1+${size()}`, () => `RQ2x4fs${one('', 'r')}${block()}${norm()}`, '', 'Hat')}`;
const graph = () => `${one('HNSW', 'HNSW', 'HNSW', 'HNSW', 'NSG')}${any('', '4', '8', '16', '32', number)}${any('', ',Flat', '_Flat', () => `,${sq()}`, () => `,PQ${size()}np`, () => `,${size()}+PQ${size()}`, () => `,2x${one('1', '2', '3', '0', '16')}+PQ${size()}`, ',', ',Flat,Flat')}`;
const simple = () => any('Flat', 'Flat', sq, sq, pq, pq, pqFast, rq, lsq, product, () => `LSH${one('', 'r', 't', 'rt', 'tr')}`, () => `ZnLattice${size()}x${one('1', '3', '10', '14', '0', '24')}_${one('6', '8', '16', '0', '32')}`);
const transform = () => any(() => `PCA${one('', 'W', 'R', 'WR')}${any('8', '8', number)}`, () => one('L2norm', 'L2Norm'), () => `RR${any('', '8', number)}`, () => `ITQ${any('', '8', number)}`, () => `OPQ${size()}${any('', '', () => `_${size()}`)}`, () => `Pad${any('32', number)}`);
function index(depth = 0) {
  const inner = any(simple, simple, ivf, ivf, ivf, graph, graph, () => `${one('MinMax', 'MinMaxFP16')},${depth < 3 ? index(depth + 1) : 'SQ8'}`);
  let description = random() < 0.3 ? `${transform()},${random() < 0.2 ? `${transform()},` : ''}${inner}` : inner;
  if (random() < 0.15) description = any(() => `${one('IDMap', 'IDMap2')},${description}`, () => `${description},${one('IDMap', 'IDMap2')}`);
  if (random() < 0.15) description = any(() => `${description},RFlat`, () => `${description},Refine(${depth < 2 ? index(depth + 1) : 'Flat'})`);
  return description;
}
const binary = () => `${one('', '', 'IDMap,', 'IDMap2,')}${any('BFlat', () => `BIVF${size()}`, () => `BIVF${size()}_HNSW${any('4', '8', number)}`, () => `BHNSW${any('4', '32', number)}`, () => `BHash${number()}`, () => `BHash${one('1', '2', '4', '8')}x${any('4', '8', number)}`)}`;
/** What no grammar makes: cut, doubled, with other characters. */
function damaged() {
  const whole = index();
  const at = below(whole.length + 1);
  return any(() => whole.slice(0, at), () => whole.slice(at), () => whole.slice(0, at) + one('(', ')', ',', '_', 'x', '9', '\u00e9', '\n', '%n', '(((') + whole.slice(at), () => '('.repeat(5000), () => `${'IVF2('.repeat(100)}Flat${'),Flat'.repeat(100)}`, () => 'IDMap,'.repeat(60) + 'Flat', () => 'PCA8,'.repeat(70) + 'Flat', () => 'Flat' + ',RFlat'.repeat(20), () => 'x'.repeat(1e6), '', ' ', 'Flat,');
}

function outcome(work) {
  try {
    const value = work();
    return value === undefined ? 'ok' : value;
  } catch (error) {
    if (!/^ERR_[A-Z_]+$/.test(error.code)) throw error;
    return error.code === 'ERR_INTERNAL' || error.code === 'ERR_OUT_OF_MEMORY' ? `${error.code} ${error.message}` : error.code;
  }
}

/** Labels are ids that were given out, or -1. */
function checked({ labels }, ids) {
  for (const label of labels) if (label < -1n || label >= BigInt(ids)) throw new Error(`label ${label} of ${ids}`);
}

function useAll(make, load, x, queries, folder) {
  const steps = {};
  let made;
  steps.make = outcome(() => void (made = make()));
  if (made === undefined) return steps;
  const withIds = random() < 0.3;
  const ids = Array.from({ length: n }, (_, i) => i);
  const step = (name, work) => { steps[name] = outcome(work); };
  if (random() < 0.1) step('searchEarly', () => checked(made.searchSync(queries, 3), n));
  step('train', () => made.trainSync(x));
  step('add', () => (withIds ? made.addSync(x, ids) : made.addSync(x)));
  if (steps.add !== 'ok') step('addOther', () => (withIds ? made.addSync(x) : made.addSync(x, ids)));
  step('describe', () => void made.describeSync());
  const search = (index) => checked(index.searchSync(queries, 5), n);
  step('search', () => search(made));
  step('searchMany', () => checked(made.searchSync(x, one(1, 50, 700)), n));
  step('filter', () => checked(made.searchSync(queries, 5, { filter: { keep: { from: 10, to: 300 } } }), n));
  step('range', () => checked(made.rangeSearchSync(queries, one(0.5, 5, 50)), n));
  for (const [name, value] of Object.entries(outcome(() => made.describeSync()).parameters ?? {})) {
    step(`params ${name}`, () => checked(made.searchSync(queries, 5, { params: { [name]: one(value, 1, 2, 64) } }), n));
  }
  step('reconstruct', () => void made.reconstructBatchSync([0, 5, n - 1]));
  step('reconstructUnknown', () => void made.reconstructSync(n + 1));
  const path = join(folder, 'fuzz.index');
  step('save', () => made.saveSync(path));
  if (steps.save === 'ok') step('load', () => search(load(path)));
  step('remove', () => void made.removeSync([1, 2, 3, 17, n - 1, n + 5]));
  step('searchRemoved', () => search(made));
  step('addAgain', () => made.addSync(x.subarray(0, x.length / n)));
  step('reset', () => made.resetSync());
  step('searchEmpty', () => search(made));
  step('addOnce', () => (withIds ? made.addSync(x, ids) : made.addSync(x)));
  step('searchOnce', () => search(made));
  if (made.ntotal > n) throw new Error(`${made.ntotal} vectors`);
  return steps;
}

async function main(seed, count) {
  state = seed >>> 0;
  const folder = mkdtempSync(join(tmpdir(), 'faiss-vision-fuzz-'));
  const x = Float32Array.from({ length: n * d }, () => random() * 2 - 1);
  const bytes = Uint8Array.from({ length: n * (64 / 8) }, () => below(256));
  for (let i = 0; i < count; i++) {
    const isBinary = random() < 0.12;
    const metric = random() < 0.75 ? 'l2' : one('ip', 'ip', 'ip', 'l1', 'linf', 'canberra', 'braycurtis', 'jensenshannon');
    const description = isBinary ? binary() : random() < 0.1 ? damaged() : index();
    const before = state; // the generator goes on from the same place whatever an index does
    process.stdout.write(`${JSON.stringify({ description, metric: isBinary ? 'hamming' : metric })}\n`);
    let steps;
    const started = performance.now();
    if (isBinary) steps = useAll(() => BinaryIndex.factory(64, description), (path) => BinaryIndex.loadSync(path), bytes, bytes.subarray(0, 8 * 7), folder);
    else steps = useAll(() => Index.factory(d, description, { metric }), (path) => Index.loadSync(path), x, x.subarray(0, d * 7), folder);
    process.stdout.write(`${JSON.stringify({ steps, ms: Math.round(performance.now() - started), rss: Math.round(process.memoryUsage.rss() / 1e6) })}\n`);
    state = before;
    random();
  }
  rmSync(folder, { recursive: true });
}

main(Number(process.argv[2]), Number(process.argv[3])).catch((error) => {
  console.error(error);
  process.exit(1);
});
