#pragma once

#include <cstdint>

#include <faiss/Index.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/IDSelector.h>

namespace faiss_vision {

/// index.search(), by our own ways where they are faster, and with a selector (nullptr for none) also where FAISS does
/// not pass one on: the types that wrap another one (IDMap, PreTransform, Refine) are taken apart here, so that what
/// they wrap decides. Throws ERR_UNSUPPORTED where a type has no way to leave vectors out.
void searchIndex(const faiss::Index& index, const faiss::IDSelector* selector, int64_t n, const float* x, int64_t k,
                 float* distances, int64_t* labels);

/// index.range_search(), likewise. Throws ERR_UNSUPPORTED where a type has no range search.
void rangeSearchIndex(const faiss::Index& index, const faiss::IDSelector* selector, int64_t n, const float* x, float radius,
                      faiss::RangeSearchResult& result);

} // namespace faiss_vision
