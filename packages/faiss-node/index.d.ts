export * from 'faiss-vision/faiss-node';
export { default } from 'faiss-vision/faiss-node';
