"""faiss-cpu of PyPI, driven line by line by bench/indexes.mjs with the commands of bench/peers/serve.mjs."""
import ctypes
import glob
import json
import os
import sys
import time

# The wheel's OpenBLAS is older than many processors and takes them for one without AVX, at a quarter of the speed in
# batches. The peer at its best has the kernels that ours has; OpenBLAS reads this when it is loaded.
with open("/proc/cpuinfo") as cpuinfo:
    if "avx512vl" in cpuinfo.read():
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"

import faiss
import numpy as np


def blas_kernels():
    """The processor whose kernels faiss-cpu's own OpenBLAS uses."""
    for library in glob.glob(os.path.join(os.path.dirname(faiss.__file__), "..", "faiss_cpu.libs", "libopenblas*")):
        corename = ctypes.CDLL(library).openblas_get_corename
        corename.restype = ctypes.c_char_p
        return corename().decode()
    return "unknown"


def microseconds(work):
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e6


class Peer:
    def open(self, folder, dimension, threads):
        def read(name):
            return np.fromfile(os.path.join(folder, name), dtype=np.float32).reshape(-1, dimension)

        self.vectors, self.queries = read("vectors.f32"), read("queries.f32")
        faiss.omp_set_num_threads(threads)
        details = f"{faiss.get_compile_options().strip()}, OpenBLAS with {blas_kernels()} kernels"
        return {"version": faiss.__version__, "kinds": ["flat", "hnsw", "ivf"], "details": details}

    def build(self, kind, settings):
        return microseconds(lambda: self.make(kind, settings))

    def make(self, kind, settings):
        description = {"flat": "Flat", "hnsw": f"HNSW{settings['M']}", "ivf": f"IVF{settings['nlist']},Flat"}[kind]
        self.kind, self.index = kind, faiss.index_factory(self.vectors.shape[1], description)
        if kind == "hnsw":
            self.index.hnsw.efConstruction = settings["efConstruction"]
        if not self.index.is_trained:
            self.index.train(self.vectors)
        self.index.add(self.vectors)

    def tune(self, value):
        if self.kind == "hnsw":
            self.index.hnsw.efSearch = value
        else:
            self.index.nprobe = value
        return True

    def labels(self, k):
        return self.index.search(self.queries, k)[1].ravel().tolist()

    def time(self, way, count, k):
        if way == "batch":
            return microseconds(lambda: self.index.search(self.queries, k))
        single = [self.queries[i : i + 1] for i in range(count)]

        def one_by_one():
            for query in single:
                self.index.search(query, k)

        return microseconds(one_by_one)

    def close(self):
        return True


peer = Peer()
for line in sys.stdin:
    command = json.loads(line)
    print(json.dumps(getattr(peer, command.pop("do"))(**command)), flush=True)
