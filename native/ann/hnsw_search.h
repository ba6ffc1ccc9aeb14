#pragma once

#include <cstddef>
#include <cstdint>

#include <faiss/IndexHNSW.h>
#include <faiss/impl/IDSelector.h>

namespace faiss_vision {

/// The search of IndexHNSWFlat (squared Euclidean distance or inner product) over FAISS's own graph, faster: the same nodes are
/// visited in the same order, but their vectors are fetched ahead and measured four at a time, and what a query needs to keep
/// stays with its thread. Call it from several threads at once as you like, but not while the index is written to.
/// @param x          n x d queries
/// @param distances  n x k, nearest first, as FAISS gives them: where fewer than k are found, FAISS's neutral distance
/// @param labels     n x k, -1 where fewer than k are found
/// @param filter     null, or who may be returned; the others are still walked through
/// @param efSearch   candidates that are followed up, >= 1; more find more and take longer
/// @return false where it does not apply (vectors that are encoded, other metrics, settings that FAISS alone knows): nothing
///         was written then and index.search() is the way
bool searchHnsw(const faiss::IndexHNSW& index, int64_t n, const float* x, int64_t k, float* distances, int64_t* labels,
                const faiss::IDSelector* filter, int efSearch);

} // namespace faiss_vision
