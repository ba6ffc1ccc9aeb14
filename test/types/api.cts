// Compiled, never run: the same declarations for a CommonJS module.
import { expectTypeOf } from 'vitest';
import faissVision = require('faiss-vision');
import face = require('faiss-vision/face');
import faissNode = require('faiss-vision/faiss-node');

expectTypeOf<faissVision.Ann>().toHaveProperty('searchSync');
expectTypeOf<faissVision.FaceRecognizer>().toEqualTypeOf<face.FaceRecognizer>();
expectTypeOf(new faissNode.IndexFlatL2(2).search([1, 2], 1).labels).toEqualTypeOf<number[]>();
