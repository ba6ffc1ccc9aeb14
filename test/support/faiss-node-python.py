"""Searches the indexes that were written by the drop-in, and writes some of its own. Used by test/faiss-node.test.ts."""
import json
import os
import sys

import faiss
import numpy as np

task = json.loads(sys.stdin.read())
folder, d, k = task["folder"], task["d"], task["k"]
load = lambda name: np.fromfile(os.path.join(folder, name), dtype=np.float32).reshape(-1, d)
vectors, queries = load("vectors"), load("queries")


def found(index):
    distances, labels = index.search(queries, k)
    return {"distances": distances.ravel().tolist(), "labels": labels.ravel().tolist()}


answers = []
for i, (description, metric) in enumerate(task["indexes"]):
    read = faiss.read_index(os.path.join(folder, f"{i}.ours"))
    own = faiss.index_factory(d, description, metric)
    own.train(vectors)
    own.add(vectors)
    faiss.write_index(own, os.path.join(folder, f"{i}.python"))
    answers.append({"type": type(faiss.downcast_index(read)).__name__, "ours": found(read), "python": found(own)})
print(json.dumps(answers))
