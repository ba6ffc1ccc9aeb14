#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

/// Squared Euclidean distances and inner products, the inner loops of the searches. Each is compiled for several instruction
/// sets (AVX-512, AVX2, and what the compiler's baseline allows) and the best one that the processor has is used.
/// The variants' results differ by rounding only, and so do those of one vector alone and among others.
namespace faiss_vision::distances {

/// out[i] = distance of x to the first d numbers of row ids[i], rows that begin `stride` numbers apart.
using ToRows = void (*)(const float* x, size_t d, const float* rows, size_t stride, const int32_t* ids, size_t count,
                        float* out);

/// out[q * stride + i] = distance of xs[q] to row i, for `count` rows that lie one after the other.
using Block = void (*)(const float* const* xs, size_t queries, const float* rows, size_t d, size_t count, float* out, size_t stride);

/// out[i] = distance of x to row i, for `count` rows that lie one after the other in memory and are in no cache yet.
using Stream = void (*)(const float* x, const float* rows, size_t d, size_t count, float* out);

/// Bit i is set where values[i] <= limit, i < count <= kMask. Reads, but does not look at, kMask values.
using Below = uint64_t (*)(const float* values, size_t count, float limit);
constexpr size_t kMask = 64;

struct Variant {
    const char* name; ///< "avx512", "avx2" or "baseline"
    ToRows l2ToRows, negativeIpToRows;
    Block l2Block, negativeIpBlock;
    Stream l2Stream, negativeIpStream;
    Below below;
};

/// Those that this processor can run, the fastest first. Inner products come negated, so that smaller is nearer.
const std::vector<Variant>& variants();

inline ToRows toRows(bool innerProduct) {
    const Variant& best = variants().front();
    return innerProduct ? best.negativeIpToRows : best.l2ToRows;
}
inline Block block(bool innerProduct) {
    const Variant& best = variants().front();
    return innerProduct ? best.negativeIpBlock : best.l2Block;
}
inline Stream stream(bool innerProduct) {
    const Variant& best = variants().front();
    return innerProduct ? best.negativeIpStream : best.l2Stream;
}
inline Below below() { return variants().front().below; }

} // namespace faiss_vision::distances
