import { Index, IndexFlatIP, IndexFlatL2, MetricType } from './faiss-node.js';

export * from './faiss-node.js';
// Not the other module's own default, which bundlers and Node take for different things.
export default { Index, IndexFlatL2, IndexFlatIP, MetricType };
