#pragma once

#include <cstdint>
#include <vector>

#include <faiss/IndexFlat.h>

#include "ann/byte_copy.h"
#include "ann/flat_candidates.h"

namespace faiss_vision {

/// The k nearest of each query among these rows, by the bounds from the copy (docs/exact-search.md).
/// @return the numbers of the queries that the bounds did not help; nothing is written for them
std::vector<int64_t> searchByBounds(const faiss::IndexFlat& index, const ByteCopy& copy, const Rows& rows, int64_t n, const float* x, int64_t k,
                                    float* distances, int64_t* labels);

} // namespace faiss_vision
