#pragma once

#include <cstdint>
#include <cstring>

namespace faiss_vision {

/// A distance (upper 32 bits) and a number to know its owner by, in one integer: smaller is nearer. Equal distances have an order
/// too, so what is found does not depend on which thread came first.
using Candidate = uint64_t;
constexpr Candidate kNobody = ~Candidate{0};

inline Candidate candidate(float distance, uint32_t owner) {
    uint32_t bits;
    std::memcpy(&bits, &distance, sizeof bits);
    // The bits of floats, so changed that they order as the floats do; NaN, whatever its sign, behind all numbers.
    bits = distance != distance ? 0xffffffffu : bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
    return uint64_t(bits) << 32 | owner;
}

inline float distanceOf(Candidate c) {
    uint32_t bits = uint32_t(c >> 32);
    bits ^= (bits >> 31) != 0 ? 0x80000000u : 0xffffffffu;
    float distance;
    std::memcpy(&distance, &bits, sizeof distance);
    return distance;
}

inline uint32_t ownerOf(Candidate c) { return uint32_t(c); }

} // namespace faiss_vision
