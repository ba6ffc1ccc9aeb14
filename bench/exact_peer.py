"""faiss-cpu's flat index, driven line by line by bench/exact.mjs."""
import json
import sys
import time

import faiss
import numpy as np

index = queries = None
for line in sys.stdin:
    command = json.loads(line)
    if "vectors" in command:
        vectors = np.memmap(command["vectors"], dtype=np.float32, mode="r").reshape(-1, command["dimension"])
        queries = np.fromfile(command["queries"], dtype=np.float32).reshape(-1, command["dimension"])
        index = (faiss.IndexFlatL2 if command["metric"] == "l2" else faiss.IndexFlatIP)(command["dimension"])
        for begin in range(0, len(vectors), 100_000):
            index.add(np.ascontiguousarray(vectors[begin : begin + 100_000]))
        answer = {"version": faiss.__version__}
    else:
        x = queries[command["first"] : command["first"] + command["count"]]
        start = time.perf_counter()
        index.search(x, command["k"])
        answer = (time.perf_counter() - start) * 1e6
    print(json.dumps(answer), flush=True)
