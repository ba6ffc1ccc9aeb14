#include "ann/finite.h"

#include <cmath>
#include <cstring>
#include <string>

#include "error.h"

namespace faiss_vision {

bool allFinite(const float* x, int64_t n) {
    // On the bits, since a compiler may fold comparisons with itself away, and so that it vectorises.
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        std::memcpy(&bits, x + i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad == 0;
}

void checkFinite(const float* x, int64_t n, int64_t d, const char* name) {
    if (allFinite(x, n * d)) return;
    for (int64_t i = 0; i < n * d; i++) {
        if (std::isfinite(x[i])) continue;
        throw Error("ERR_NOT_FINITE", std::string("`") + name + "` must hold finite numbers, vector " + std::to_string(i / d) + " has " +
                                          (std::isnan(x[i]) ? "NaN" : x[i] > 0 ? "Infinity" : "-Infinity") + " at position " +
                                          std::to_string(i % d));
    }
}

} // namespace faiss_vision
