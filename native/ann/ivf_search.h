#pragma once

#include <cstddef>
#include <cstdint>

#include <faiss/IndexIVFFlat.h>
#include <faiss/impl/IDSelector.h>

namespace faiss_vision {

/// The search of IndexIVFFlat (squared Euclidean distance or inner product), faster: the queries that probe the same list are
/// measured against it together, so that it is read from memory once, and the lists of few queries are shared out over the
/// threads. The same lists are searched and the same distances found as by FAISS, save for rounding and the choice among equals.
/// Call it from several threads at once as you like, but not while the index is written to.
/// @param x          n x d queries
/// @param distances  n x k, nearest first, as FAISS gives them: where fewer than k are found, FAISS's neutral distance
/// @param labels     n x k, -1 where fewer than k are found
/// @param filter     null, or who may be returned
/// @param nprobe     lists to search, >= 1
/// @param maxCodes   a query's search ends with the list in which this many vectors were reached, 0: with the last list
/// @return false where it does not apply (other metrics, lists that are not plain memory, settings that FAISS alone knows):
///         nothing was written then and index.search() is the way
bool searchIvfFlat(const faiss::IndexIVFFlat& index, int64_t n, const float* x, int64_t k, float* distances, int64_t* labels,
                   const faiss::IDSelector* filter, size_t nprobe, size_t maxCodes);

} // namespace faiss_vision
