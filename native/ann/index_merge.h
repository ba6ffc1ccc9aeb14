#pragma once

#include <faiss/Index.h>
#include <faiss/IndexBinary.h>

namespace faiss_vision {

/// Whether `other` can be merged into `index` so that every vector is found as before. FAISS compares types and sizes;
/// two IVFs or PQs that were trained apart would mix codes that mean different things, and ids that both have would
/// come twice. Throws ERR_UNSUPPORTED, ERR_INCOMPATIBLE_INDEX or ERR_DUPLICATE_ID.
void checkMerge(const faiss::Index& index, const faiss::Index& other, int64_t addId);
void checkMerge(const faiss::IndexBinary& index, const faiss::IndexBinary& other, int64_t addId);

} // namespace faiss_vision
