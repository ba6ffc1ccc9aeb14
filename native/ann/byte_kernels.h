#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// The inner loops of the search by bounds (ann/bounded_flat.h). They are compiled for several instruction sets and chosen at
/// run time: "amx" (AMX int8), "avx512vnni", "avxvnni", "avx2" and "plain". All give the same integers: nothing saturates
/// anywhere, and what wraps around wraps back, because the sums themselves stay below 2^31 (kMaxDimension).
namespace faiss_vision::bytes {

/// Vectors that lie interleaved, one lane each: a panel.
constexpr size_t kLanes = 16;
/// 127 * 127 * kMaxDimension is below 2^31.
constexpr size_t kMaxDimension = 1 << 17;
/// A panel may be read (never used) this far behind its end.
constexpr size_t kSlack = 1024;

/// Four numbers of a vector lie side by side; such words of the 16 vectors of a panel follow one another, then come the next
/// four numbers. Each is stored as code + 128, the codes being from -127 to 127.
inline size_t words(size_t d) { return (d + 3) / 4; }

/// Codes of queries: row after row, zeros behind the last number, and room for a whole number of groups of 16 rows.
struct Queries {
    const int8_t* codes;
    size_t stride;       ///< bytes between rows: a multiple of 64, at least d
    const int32_t* bias; ///< 16 times -128 * (sum of the row's codes), for each row
    size_t count;
};

/// out[q * outStride + v] = sum over j of (code of query q) * (code of vector v), for v < 16 * panels.
/// Writes whole groups of 16 queries: `out` has rows for them, and there are zeros (codes and bias) where they read.
using Dots = void (*)(const uint8_t* codes, size_t words, size_t panels, const Queries& queries, int32_t* out, size_t outStride);

/// What bounds the products of some vectors with a query: one number of each kind for a vector.
struct Scales {
    const float* scale;  ///< s: the vector is about s * codes
    const float* error;  ///< e >= length of what that leaves out
    const float* length; ///< n >= length of s * codes
    const float* half;   ///< h <= half the vector's squared length; 0 for inner products
};
struct Probe {
    float scale, error, length; ///< the same of the query; length here is that of the query itself
    float reach;                ///< the value that a bound must reach
};

/// value = scale * (probe.scale * dot) + error * probe.length + length * probe.error - half.
/// Writes the positions with !(value < reach), in order, and their values, and returns how many. Positions are below 65,536;
/// both arrays have room for count + 16, and the numbers of the vectors may be read up to the next multiple of 16.
using Sift = size_t (*)(const int32_t* dots, size_t count, const Scales& scales, const Probe& probe, uint16_t* positions, float* values);

/// What a vector's code leaves out, in the float arithmetic of the loop: the caller adds its rounding.
struct Coded {
    float largest; ///< max |x - centre|
    float scale;   ///< largest / 127, or 0 where the vector is coded as zeros
    float squares; ///< sum of (x - centre)^2; not finite where a number of x is not
    float lost;    ///< sum of (x - centre - scale * code)^2
};
/// Codes the d numbers of x - centre (centre may be null) to 4 * words(d) codes. Beyond `least` <= largest <= `most`
/// all codes and the scale are 0.
using Code = Coded (*)(const float* x, const float* centre, size_t d, int8_t* codes);
constexpr float kLeast = 0x1p-50f, kMost = 0x1p50f;

/// Puts the codes of `lanes` vectors (rows of 4 * words bytes) into a panel, from lane `first` on.
using Interleave = void (*)(const int8_t* rows, size_t words, size_t first, size_t lanes, uint8_t* panel);

struct Variant {
    const char* name;
    Dots dotsOfOne;  ///< queries.count == 1
    Dots dotsOfMany; ///< any count
    Sift sift;
    Code code;
    Interleave interleave;
    void (*enter)(); ///< before the first dots of a thread, and
    void (*leave)(); ///< after its last: what dotsOfMany needs
};

/// Those that this processor can run, the fastest first.
const std::vector<Variant>& variants();

/// The one of that name, or null where this processor cannot run it.
const Variant* variant(const std::string& name);

/// The fastest, or the one that FAISS_VISION_BYTE_KERNELS names (where it can run).
const Variant& chosen();

} // namespace faiss_vision::bytes
