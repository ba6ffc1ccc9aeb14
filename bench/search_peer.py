"""faiss-cpu of PyPI, driven line by line by bench/search.mjs."""
import json
import sys
import time

import faiss
import numpy as np

index = None
for line in sys.stdin:
    command = json.loads(line)
    if "file" in command:
        vectors = np.fromfile(command["file"], dtype=np.float32).reshape(-1, command["dimension"])
        index = (faiss.IndexFlatL2 if command["metric"] == "l2" else faiss.IndexFlatIP)(command["dimension"])
        index.add(vectors)
        answer = {"version": faiss.__version__, "simd": faiss.get_compile_options(), "threads": faiss.omp_get_max_threads()}
    else:
        queries = vectors[: command["queries"]]
        start = time.perf_counter()
        index.search(queries, command["k"])
        answer = (time.perf_counter() - start) * 1e6
    print(json.dumps(answer), flush=True)
