#include "ann/distance_kernels.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#define FAISS_VISION_X86 1
#include <immintrin.h>
#endif

namespace faiss_vision::distances {
namespace {

// Code that is inlined into every variant below is compiled for that variant's instruction set.
#define ALWAYS_INLINE [[gnu::always_inline]] inline

/// GCC's vector of Lanes numbers: the compiler maps it to the registers of the instruction set at hand.
template <int Lanes>
struct VectorOf {
    typedef float type __attribute__((vector_size(Lanes * sizeof(float)), aligned(alignof(float)), may_alias));
};
template <int Lanes>
using Floats = typename VectorOf<Lanes>::type;

enum class Kind { L2, NegativeIp };

template <Kind kind, class V>
ALWAYS_INLINE void accumulate(V& sum, const V& x, const V& y) {
    if constexpr (kind == Kind::L2) {
        const V difference = x - y;
        sum += difference * difference;
    } else {
        sum -= x * y;
    }
}

/// Queries x Rows distances at once: each number is loaded once and the sums stay in registers.
template <int Queries, int Rows>
struct Tile {
    const float* x[Queries];
    const float* y[Rows];
    size_t d;

    template <Kind kind, int Lanes>
    ALWAYS_INLINE void step(Floats<Lanes> (&sum)[Queries][Rows], size_t at) const {
        using V = Floats<Lanes>;
        V row[Rows];
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++) row[r] = *reinterpret_cast<const V*>(y[r] + at);
#pragma GCC unroll 8
        for (int q = 0; q < Queries; q++) {
            const V query = *reinterpret_cast<const V*>(x[q] + at);
#pragma GCC unroll 8
            for (int r = 0; r < Rows; r++) accumulate<kind, V>(sum[q][r], query, row[r]);
        }
    }

    template <Kind kind, int Lanes>
    ALWAYS_INLINE void all(float* out, size_t stride) const {
        Floats<Lanes> sum[Queries][Rows] = {};
        size_t at = 0;
        for (; at + Lanes <= d; at += Lanes) step<kind, Lanes>(sum, at);
        rest<kind, Lanes>(sum, at, out, stride);
    }

    /// The same, one row after the other: the processor fetches ahead best where memory is read from front to back.
    template <Kind kind, int Lanes>
    ALWAYS_INLINE void inOrder(float* out) const {
        static_assert(Queries == 1, "of several queries all but the first find the row in the cache");
        using V = Floats<Lanes>;
        V sum[Queries][Rows] = {};
        const size_t end = d / Lanes * Lanes;
#pragma GCC unroll 8
        for (int r = 0; r < Rows; r++) {
            for (size_t at = 0; at < end; at += Lanes) {
                const V query = *reinterpret_cast<const V*>(x[0] + at), row = *reinterpret_cast<const V*>(y[r] + at);
                accumulate<kind, V>(sum[0][r], query, row);
            }
        }
        rest<kind, Lanes>(sum, end, out, 0);
    }

    /// Halves the sums down to four lanes, each time taking along what of the rest fits, then adds the four up.
    template <Kind kind, int Lanes>
    ALWAYS_INLINE void rest(Floats<Lanes> (&sum)[Queries][Rows], size_t at, float* out, size_t stride) const {
        if constexpr (Lanes > 4) {
            using Half = Floats<Lanes / 2>;
            Half half[Queries][Rows];
#pragma GCC unroll 8
            for (int q = 0; q < Queries; q++) {
#pragma GCC unroll 8
                for (int r = 0; r < Rows; r++) {
                    Half low, high;
                    std::memcpy(&low, &sum[q][r], sizeof low);
                    std::memcpy(&high, reinterpret_cast<const char*>(&sum[q][r]) + sizeof low, sizeof high);
                    half[q][r] = low + high;
                }
            }
            if (at + Lanes / 2 <= d) {
                step<kind, Lanes / 2>(half, at);
                at += Lanes / 2;
            }
            rest<kind, Lanes / 2>(half, at, out, stride);
        } else {
#pragma GCC unroll 8
            for (int q = 0; q < Queries; q++) {
                float* const to = out + q * stride;
                addUp(sum[q], to);
                for (size_t i = at; i < d; i++) {
#pragma GCC unroll 8
                    for (int r = 0; r < Rows; r++) accumulate<kind, float>(to[r], x[q][i], y[r][i]);
                }
            }
        }
    }

    ALWAYS_INLINE static void addUp(const Floats<4> (&sum)[Rows], float* out) {
#ifdef FAISS_VISION_X86
        if constexpr (Rows == 4) {
            __m128 a = sum[0], b = sum[1], c = sum[2], e = sum[3];
            _MM_TRANSPOSE4_PS(a, b, c, e);
            _mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(a, b), _mm_add_ps(c, e)));
            return;
        }
#endif
        for (int r = 0; r < Rows; r++) out[r] = (sum[r][0] + sum[r][1]) + (sum[r][2] + sum[r][3]);
    }
};

template <Kind kind, int Lanes>
ALWAYS_INLINE void toRowsAll(const float* x, size_t d, const float* rows, size_t stride, const int32_t* ids, size_t count,
                             float* out) {
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const Tile<1, 4> tile{{x}, {rows + ids[i] * stride, rows + ids[i + 1] * stride, rows + ids[i + 2] * stride,
                                    rows + ids[i + 3] * stride}, d};
        tile.template all<kind, Lanes>(out + i, 0);
    }
    for (; i < count; i++) {
        const Tile<1, 1> tile{{x}, {rows + ids[i] * stride}, d};
        tile.template all<kind, Lanes>(out + i, 0);
    }
}

template <Kind kind, int Lanes, int Queries>
ALWAYS_INLINE void blockOf(const float* const* xs, const float* rows, size_t d, size_t count, float* out, size_t stride) {
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        Tile<Queries, 4> tile;
        for (int q = 0; q < Queries; q++) tile.x[q] = xs[q];
        for (int r = 0; r < 4; r++) tile.y[r] = rows + (i + r) * d;
        tile.d = d;
        tile.template all<kind, Lanes>(out + i, stride);
    }
    for (; i < count; i++) {
        Tile<Queries, 1> tile;
        for (int q = 0; q < Queries; q++) tile.x[q] = xs[q];
        tile.y[0] = rows + i * d;
        tile.d = d;
        tile.template all<kind, Lanes>(out + i, stride);
    }
}

/// Most: queries at once, as many as the registers hold the sums of.
template <Kind kind, int Lanes, int Most>
ALWAYS_INLINE void blockAll(const float* const* xs, size_t queries, const float* rows, size_t d, size_t count, float* out,
                            size_t stride) {
    size_t q = 0;
    for (; q + Most <= queries; q += Most) blockOf<kind, Lanes, Most>(xs + q, rows, d, count, out + q * stride, stride);
    for (; q < queries; q++) blockOf<kind, Lanes, 1>(xs + q, rows, d, count, out + q * stride, stride);
}

template <Kind kind, int Lanes>
ALWAYS_INLINE void streamAll(const float* x, const float* rows, size_t d, size_t count, float* out) {
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const float* const row = rows + i * d;
        const Tile<1, 4> tile{{x}, {row, row + d, row + 2 * d, row + 3 * d}, d};
        tile.template inOrder<kind, Lanes>(out + i);
    }
    for (; i < count; i++) {
        const Tile<1, 1> tile{{x}, {rows + i * d}, d};
        tile.template inOrder<kind, Lanes>(out + i);
    }
}

uint64_t first(uint64_t bits, size_t count) { return count >= kMask ? bits : bits & ((uint64_t{1} << count) - 1); }

#ifdef FAISS_VISION_X86
__attribute__((target("avx512f"))) uint64_t below_avx512(const float* values, size_t count, float limit) {
    uint64_t bits = 0;
    for (size_t i = 0; i < kMask; i += 16) {
        bits |= uint64_t(_mm512_cmp_ps_mask(_mm512_loadu_ps(values + i), _mm512_set1_ps(limit), _CMP_LE_OQ)) << i;
    }
    return first(bits, count);
}
__attribute__((target("avx"))) uint64_t below_avx2(const float* values, size_t count, float limit) {
    uint64_t bits = 0;
    for (size_t i = 0; i < kMask; i += 8) {
        const __m256 is = _mm256_cmp_ps(_mm256_loadu_ps(values + i), _mm256_set1_ps(limit), _CMP_LE_OQ);
        bits |= uint64_t(unsigned(_mm256_movemask_ps(is))) << i;
    }
    return first(bits, count);
}
#endif
uint64_t below_baseline(const float* values, size_t count, float limit) {
    uint64_t bits = 0;
    for (size_t i = 0; i < count; i++) bits |= uint64_t(values[i] <= limit) << i;
    return bits;
}

#define VARIANT(name, attribute, lanes, most)                                                                                  \
    attribute void l2ToRows_##name(const float* x, size_t d, const float* rows, size_t stride, const int32_t* ids, size_t n,   \
                                   float* out) {                                                                               \
        toRowsAll<Kind::L2, lanes>(x, d, rows, stride, ids, n, out);                                                           \
    }                                                                                                                          \
    attribute void ipToRows_##name(const float* x, size_t d, const float* rows, size_t stride, const int32_t* ids, size_t n,   \
                                   float* out) {                                                                               \
        toRowsAll<Kind::NegativeIp, lanes>(x, d, rows, stride, ids, n, out);                                                   \
    }                                                                                                                          \
    attribute void l2Block_##name(const float* const* xs, size_t nx, const float* rows, size_t d, size_t n, float* out,        \
                                  size_t stride) {                                                                             \
        blockAll<Kind::L2, lanes, most>(xs, nx, rows, d, n, out, stride);                                                      \
    }                                                                                                                          \
    attribute void ipBlock_##name(const float* const* xs, size_t nx, const float* rows, size_t d, size_t n, float* out,        \
                                  size_t stride) {                                                                             \
        blockAll<Kind::NegativeIp, lanes, most>(xs, nx, rows, d, n, out, stride);                                              \
    }                                                                                                                          \
    attribute void l2Stream_##name(const float* x, const float* rows, size_t d, size_t n, float* out) {                        \
        streamAll<Kind::L2, lanes>(x, rows, d, n, out);                                                                        \
    }                                                                                                                          \
    attribute void ipStream_##name(const float* x, const float* rows, size_t d, size_t n, float* out) {                        \
        streamAll<Kind::NegativeIp, lanes>(x, rows, d, n, out);                                                                \
    }                                                                                                                          \
    const Variant name = {#name, l2ToRows_##name, ipToRows_##name, l2Block_##name, ipBlock_##name, l2Stream_##name,            \
                          ipStream_##name, below_##name};

#ifdef FAISS_VISION_X86
VARIANT(avx512, __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), 16, 4)
VARIANT(avx2, __attribute__((target("avx2,fma"))), 8, 2)
#endif
VARIANT(baseline, , 4, 2)

std::vector<Variant> supported() {
    std::vector<Variant> result;
#ifdef FAISS_VISION_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl")) {
            result.push_back(avx512);
        }
        result.push_back(avx2);
    }
#endif
    result.push_back(baseline);
    return result;
}

} // namespace

const std::vector<Variant>& variants() {
    static const std::vector<Variant> found = supported();
    return found;
}

} // namespace faiss_vision::distances
