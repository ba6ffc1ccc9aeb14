#pragma once

#include <memory>
#include <string>

#include "ann/bounded_flat.h"

namespace faiss_vision {

/// Opens a file of ours (ann/checked_file.h) that holds a flat index of metric L2 or inner product, or one with ids (an IDMap): its
/// vectors are read to where they stay, and copied for the search by bounds while more are being read. Null where the file holds
/// anything else. Throws what CheckedFile throws.
std::unique_ptr<faiss::Index> loadFlat(const std::string& path, Exact exact = Exact::Auto);

} // namespace faiss_vision
