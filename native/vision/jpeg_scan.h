#pragma once

#include <cstddef>
#include <cstdint>

namespace faiss_vision {

/// Whether the scan of a baseline JPEG file of three colours holds codes for all of its picture and nothing else, each of them in the
/// file's tables. What decodes on a GPU takes a photo that is cut off or damaged for a whole one and makes something up for the rest.
/// False as well for what it does not know.
bool isWholeJpeg(const uint8_t* file, size_t bytes);

} // namespace faiss_vision
