#pragma once

#include <cstdint>

#include <faiss/Index.h>
#include <faiss/IndexBinary.h>

namespace faiss_vision {

/// The vectors of these ids, as the index keeps them (exact, or what its codes decode to). Also where FAISS wants a
/// direct map or an IDMap2 for it: there the ids are looked through once.
/// Throws ERR_UNKNOWN_ID, or a FaissException where the type keeps nothing that could be decoded.
void reconstructIds(const faiss::Index& index, int64_t n, const int64_t* ids, float* x);
void reconstructIds(const faiss::IndexBinary& index, int64_t n, const int64_t* ids, uint8_t* x);

} // namespace faiss_vision
