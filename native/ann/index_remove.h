#pragma once

#include <cstddef>

#include <faiss/Index.h>
#include <faiss/IndexBinary.h>
#include <faiss/impl/IDSelector.h>

namespace faiss_vision {

/// Removes the vectors whose ids are selected, and returns how many there were. Throws ERR_UNSUPPORTED, with the way round,
/// for types that cannot, and for those in which FAISS would mix up ids or end the process.
size_t removeIds(faiss::Index& index, const faiss::IDSelector& selector);
size_t removeIds(faiss::IndexBinary& index, const faiss::IDSelector& selector);

} // namespace faiss_vision
