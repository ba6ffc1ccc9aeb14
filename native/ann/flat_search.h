#pragma once

#include <cstdint>

#include <faiss/IndexFlat.h>

namespace faiss_vision {

/// What IndexFlat::search does, with the threads shared out over the vectors where there are fewer queries than threads.
/// Distances and labels are n x k, best first.
void searchFlat(const faiss::IndexFlat& index, int64_t n, const float* x, int64_t k, float* distances, int64_t* labels);

/// For k = 1, FAISS 1.7.3's flat index answers id 0 at an infinite distance where nothing was found (no vector passes a
/// selector, or no distance is finite). Makes that -1 and the distance it gives for any other k.
void correctNone(const faiss::IndexFlat& index, int64_t n, int64_t k, float* distances, int64_t* labels);

} // namespace faiss_vision
