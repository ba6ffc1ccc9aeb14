#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <faiss/Index.h>
#include <faiss/IndexBinary.h>

#include "ann/checked_file.h"
#include "ann/training_progress.h"

namespace faiss_vision {

// `Faiss` is faiss::Index or faiss::IndexBinary. Files are FAISS's own, with CheckedFile's trailer, and the same wherever the index is.

/// Throws ERR_FILE_WRITE, ERR_UNSUPPORTED for types that FAISS does not write, and ERR_FAISS.
template <class Faiss>
void saveIndex(const Faiss& index, const std::string& path, const Progress& progress);

/// What FAISS would write of it as it is. Throws a FaissException where the type has no format.
template <class Faiss>
size_t writtenBytes(const Faiss& index);

template <class Faiss>
std::vector<uint8_t> indexToBytes(const Faiss& index);

/// FAISS parses bytes without a trailer only once their lengths are found to fit.
/// @param name  starts the messages
/// Throws ERR_INDEX_CORRUPT, and ERR_UNSUPPORTED for types that FAISS reads but cannot use.
template <class Faiss>
std::unique_ptr<Faiss> parseIndex(const CheckedFile& file, const std::string& name);

} // namespace faiss_vision
