#pragma once

#include <cstdint>

namespace faiss_vision {

/// Whether none of n numbers is NaN or infinite.
bool allFinite(const float* x, int64_t n);

/// Throws ERR_NOT_FINITE, naming the first vector of d numbers that has one which is not.
void checkFinite(const float* x, int64_t n, int64_t d, const char* name);

} // namespace faiss_vision
