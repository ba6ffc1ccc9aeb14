#pragma once

#include <cstddef>

#include <faiss/Index.h>

namespace faiss_vision {

/// Lets the memory that a search goes through (vectors, codes, ids, a graph's links) lie in huge pages, where Linux (6.1 and
/// later) gives them: else much of the time goes into the translation of addresses. FAISS allocates by itself and bit by bit, so
/// the lists of an IVF are first made as long as they need to be, which lays them next to one another; then the system moves the
/// pages. Nobody may use the index meanwhile.
/// @return how many bytes lie in huge pages now
size_t useHugePages(faiss::Index& index);

} // namespace faiss_vision
