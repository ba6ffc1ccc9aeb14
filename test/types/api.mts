// Compiled, never run: what the declarations promise to an ECMAScript module.
import { expectTypeOf } from 'vitest';
import { Ann, BinaryIndex, DepthEstimator, FaceRecognizer, FaissVisionError, Gallery, Index, IndexFlatL2 } from 'faiss-vision';
import type { Decision, DepthMap, Face, ImageInput } from 'faiss-vision';
import { Ann as AnnOfSubpath, type SearchResult } from 'faiss-vision/ann';
import { DepthEstimator as DepthOfSubpath } from 'faiss-vision/depth';
import type { Identification, ListedPerson } from 'faiss-vision/gallery';
import { FaceRecognizer as FaceOfSubpath } from 'faiss-vision/face';

expectTypeOf<Ann>().toEqualTypeOf<AnnOfSubpath>();
expectTypeOf<FaceRecognizer>().toEqualTypeOf<FaceOfSubpath>();
expectTypeOf<DepthEstimator>().toEqualTypeOf<DepthOfSubpath>();

const ann = new Ann({ dimension: 128, threshold: 0.6, metric: 'l2' });
expectTypeOf(ann.search(new Float32Array(128))).resolves.toEqualTypeOf<Decision[]>();
expectTypeOf(ann.searchSync(new Float32Array(128))).toEqualTypeOf<Decision[]>();
expectTypeOf<Decision['index']>().toEqualTypeOf<number>();
// @ts-expect-error the threshold is what decides
new Ann({ dimension: 128 });
// @ts-expect-error there is no such metric
new Ann({ dimension: 128, threshold: 1, metric: 'hamming' });
// @ts-expect-error vectors are 32-bit floats
ann.search([1, 2, 3]);

const index = Index.factory(64, 'IVF16,Flat');
expectTypeOf(index).toEqualTypeOf<Index>();
expectTypeOf(new IndexFlatL2(64)).toExtend<Index>();
expectTypeOf(index.search(new Float32Array(64), 10)).resolves.toExtend<SearchResult<Float32Array>>();
const found = await index.search(new Float32Array(64), 10, { params: { nprobe: 4 }, filter: { leaveOut: [7, 8n] } });
expectTypeOf(found.labels).toEqualTypeOf<BigInt64Array>();
expectTypeOf(Index.load('index.faiss')).resolves.toEqualTypeOf<Index>();
// @ts-expect-error bits are bytes
BinaryIndex.factory(64, 'BFlat').search(new Float32Array(2), 1);

const recognizer = await FaceRecognizer.load({ model: 'resnet128' });
expectTypeOf(recognizer.faces).parameter(0).toEqualTypeOf<ImageInput>();
expectTypeOf(recognizer.faces('photo.jpg')).resolves.toEqualTypeOf<Face[]>();
expectTypeOf<Face['features']>().toExtend<Float32Array>();

const depth = await DepthEstimator.load({ weights: 'fcrn.safetensors', precision: 'bf16' });
expectTypeOf(depth.estimate('room.jpg')).resolves.toEqualTypeOf<DepthMap>();

const gallery = await Gallery.open('people.db', { recognizer });
expectTypeOf(gallery.enroll).parameter(1).toEqualTypeOf<ImageInput | readonly ImageInput[]>();
expectTypeOf(gallery.identify('door.jpg')).resolves.toEqualTypeOf<Identification[]>();
expectTypeOf((await gallery.list()).items).items.toEqualTypeOf<ListedPerson>();
// @ts-expect-error Milvus has no such level
Gallery.open('milvus://host/people', { consistency: 'Sometimes' });

expectTypeOf<FaissVisionError>().toExtend<Error & { code: string }>();
