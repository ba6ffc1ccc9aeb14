#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace faiss_vision {

/// Which of FAISS's two readers the bytes are for: faiss::read_index or faiss::read_index_binary.
enum class IndexKind { Float, Binary };

/// What FAISS takes beside the file's own data when it reads an index that was found right.
struct IndexNeeds {
    /// Bytes of the tables that an IVFPQ index computes after reading, 0 where there are none. They only make searches
    /// faster: faiss::read_index leaves them out when it is given faiss::IO_FLAG_SKIP_PRECOMPUTE_TABLE.
    size_t tableBytes = 0;
};

/// Walks over a file in FAISS's format without FAISS, which trusts every length and number in it. What passes can be
/// read, searched, added to, removed from, reconstructed and saved without a crash or an abort, as far as FAISS 1.7.3
/// can do these for the type at all; a changed float that stays in range is what the file says.
/// Bytes may lie anywhere; they must not change between this and FAISS's reading of them.
///
/// @param name  starts the messages: a path or what the bytes are
/// Throws ERR_INDEX_CORRUPT where something does not fit, ERR_INDEX_UNSUPPORTED for a type or combination that
/// FAISS 1.7.3 does not know or cannot use safely.
IndexNeeds checkIndexBytes(const uint8_t* data, size_t size, IndexKind kind, const std::string& name);

} // namespace faiss_vision
