"""Searches indexes that were written from Node, and writes some of its own. Used by test/index-files.test.ts."""
import json
import os
import sys

import faiss
import numpy as np

task = json.loads(sys.stdin.read())
folder = task["folder"]
METRICS = {"l2": faiss.METRIC_L2, "ip": faiss.METRIC_INNER_PRODUCT, "l1": faiss.METRIC_L1, "linf": faiss.METRIC_Linf}


def load(name, width, dtype):
    return np.fromfile(os.path.join(folder, name), dtype=dtype).reshape(-1, width)


def found(index, queries):
    distances, labels = index.search(queries, task["k"])
    return {"distances": distances.ravel().tolist(), "labels": labels.ravel().tolist()}


answers = []
for i, (description, metric) in enumerate(task["indexes"]):
    ours, own = os.path.join(folder, f"{i}.ours"), os.path.join(folder, f"{i}.python")
    try:
        if metric == "hamming":
            x, queries = load("bits", task["width"], np.uint8), load("bits.queries", task["width"], np.uint8)
            read = faiss.read_index_binary(ours)
            made = faiss.index_binary_factory(8 * task["width"], description)
        else:
            x, queries = load("floats", task["d"], np.float32), load("floats.queries", task["d"], np.float32)
            read = faiss.read_index(ours)
            made = faiss.index_factory(task["d"], description, METRICS[metric])
        made.train(x)
        made.add_with_ids(x, np.arange(len(x)) * 3) if "IDMap" in description else made.add(x)
        (faiss.write_index_binary if metric == "hamming" else faiss.write_index)(made, own)
        answers.append({"ntotal": read.ntotal, "ours": found(read, queries), "python": found(made, queries)})
    except RuntimeError as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
