#include "ann/byte_kernels.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#if defined(__x86_64__) && defined(__GNUC__)
#define FAISS_VISION_X86 1
#include <immintrin.h>
#endif
#include "amx.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi" // said of vectors that functions return which are inlined everywhere
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" // said of GCC's own AVX-512 functions, which begin with any value
#endif

namespace faiss_vision::bytes {
namespace {

// Code that is inlined into every variant below is compiled for that variant's instruction set.
#define ALWAYS_INLINE [[gnu::always_inline]] inline

constexpr size_t kWord = 4 * kLanes; // bytes of one word of a panel

void nothing() {}

// ---- coding: GCC's vectors, which the compiler maps to the registers of the instruction set at hand ----

constexpr size_t kVector = 16;
typedef float Floats __attribute__((vector_size(4 * kVector), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * kVector), aligned(4), may_alias));
typedef int8_t Bytes __attribute__((vector_size(kVector), aligned(1), may_alias));

ALWAYS_INLINE float largestOf(const Floats& v) {
    float result = 0;
    for (size_t i = 0; i < kVector; i++) result = std::max(result, v[i]);
    return result;
}
ALWAYS_INLINE float sumOf(const Floats& v) {
    float result = 0;
    for (size_t i = 0; i < kVector; i++) result += v[i];
    return result;
}

/// The numbers from `at` on, less the centre's; zeros behind the last.
template <bool whole>
ALWAYS_INLINE Floats numbers(const float* x, const float* centre, size_t d, size_t at) {
    Floats v = {}, c = {};
    const size_t bytes = whole ? sizeof v : (d - at) * sizeof(float);
    std::memcpy(&v, x + at, bytes);
    if (centre == nullptr) return v;
    std::memcpy(&c, centre + at, bytes);
    return v - c;
}

template <bool whole>
ALWAYS_INLINE void measure(const float* x, const float* centre, size_t d, size_t at, Floats& largest, Floats& squares) {
    const Floats v = numbers<whole>(x, centre, d, at);
    const Floats size = v < 0 ? -v : v;
    largest = size > largest ? size : largest;
    squares += v * v;
}

template <bool whole>
ALWAYS_INLINE void codeSome(const float* x, const float* centre, size_t d, size_t at, float scale, float inverse, int8_t* codes, Floats& lost) {
    // Adding 1.5 * 2^23 rounds to a whole number, which then is the lowest bits.
    constexpr float kRounder = 12582912.0f;
    const Floats v = numbers<whole>(x, centre, d, at);
    const Floats rounded = v * inverse + kRounder;
    Ints whole16;
    std::memcpy(&whole16, &rounded, sizeof whole16);
    whole16 -= 0x4B400000;
    const Floats rest = v - (rounded - kRounder) * scale;
    lost += rest * rest;
    const Bytes narrow = __builtin_convertvector(whole16, Bytes);
    std::memcpy(codes + at, &narrow, whole ? sizeof narrow : (d - at + 3) / 4 * 4);
}

ALWAYS_INLINE Coded codeAll(const float* x, const float* centre, size_t d, int8_t* codes) {
    Floats largest[2] = {}, squares[2] = {}, lost[2] = {};
    size_t at = 0;
    for (; at + 2 * kVector <= d; at += 2 * kVector) {
        measure<true>(x, centre, d, at, largest[0], squares[0]);
        measure<true>(x, centre, d, at + kVector, largest[1], squares[1]);
    }
    for (; at + kVector <= d; at += kVector) measure<true>(x, centre, d, at, largest[0], squares[0]);
    if (at < d) measure<false>(x, centre, d, at, largest[0], squares[0]);
    Coded coded;
    coded.largest = std::max(largestOf(largest[0]), largestOf(largest[1]));
    coded.squares = sumOf(squares[0] + squares[1]);
    // A number that is NaN is in no maximum, but it is in the sum.
    if (!(coded.largest >= kLeast && coded.largest <= kMost && coded.squares <= std::numeric_limits<float>::max())) {
        coded.scale = 0;
        coded.lost = coded.squares;
        std::memset(codes, 0, words(d) * 4);
        return coded;
    }
    coded.scale = coded.largest / 127;
    const float inverse = 127 / coded.largest;
    at = 0;
    for (; at + 2 * kVector <= d; at += 2 * kVector) {
        codeSome<true>(x, centre, d, at, coded.scale, inverse, codes, lost[0]);
        codeSome<true>(x, centre, d, at + kVector, coded.scale, inverse, codes, lost[1]);
    }
    for (; at + kVector <= d; at += kVector) codeSome<true>(x, centre, d, at, coded.scale, inverse, codes, lost[0]);
    if (at < d) codeSome<false>(x, centre, d, at, coded.scale, inverse, codes, lost[0]);
    coded.lost = sumOf(lost[0] + lost[1]);
    return coded;
}

ALWAYS_INLINE void interleaveAll(const int8_t* rows, size_t words, size_t first, size_t lanes, uint8_t* panel) {
    uint32_t* const to = reinterpret_cast<uint32_t*>(panel) + first;
    const auto word = [&](size_t lane, size_t w) {
        uint32_t bits;
        std::memcpy(&bits, rows + (lane * words + w) * 4, 4);
        return bits ^ 0x80808080u;
    };
    if (lanes == kLanes) {
        for (size_t w = 0; w < words; w++) {
#pragma GCC unroll 16
            for (size_t lane = 0; lane < kLanes; lane++) to[w * kLanes + lane] = word(lane, w);
        }
    } else {
        for (size_t w = 0; w < words; w++) {
            for (size_t lane = 0; lane < lanes; lane++) to[w * kLanes + lane] = word(lane, w);
        }
    }
}

// ---- plain C++ ----

void dotsPlain(const uint8_t* codes, size_t words, size_t panels, const Queries& queries, int32_t* out, size_t outStride) {
    for (size_t p = 0; p < panels; p++, codes += words * kWord) {
        for (size_t q = 0; q < queries.count; q++) {
            const int8_t* const query = queries.codes + q * queries.stride;
            int32_t sum[kLanes] = {};
            for (size_t w = 0; w < words; w++) {
                for (size_t lane = 0; lane < kLanes; lane++) {
                    for (size_t j = 0; j < 4; j++) sum[lane] += (int32_t(codes[w * kWord + lane * 4 + j]) - 128) * query[w * 4 + j];
                }
            }
            std::copy(sum, sum + kLanes, out + q * outStride + p * kLanes);
        }
    }
}

size_t siftPlain(const int32_t* dots, size_t count, const Scales& scales, const Probe& probe, uint16_t* positions, float* values) {
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const float value = scales.scale[i] * (probe.scale * float(dots[i])) +
                            (scales.error[i] * probe.length + (scales.length[i] * probe.error - scales.half[i]));
        positions[found] = uint16_t(i);
        values[found] = value;
        found += !(value < probe.reach);
    }
    return found;
}

Coded codePlain(const float* x, const float* centre, size_t d, int8_t* codes) { return codeAll(x, centre, d, codes); }
void interleavePlain(const int8_t* rows, size_t words, size_t first, size_t lanes, uint8_t* panel) {
    interleaveAll(rows, words, first, lanes, panel);
}

const Variant plain = {"plain", dotsPlain, dotsPlain, siftPlain, codePlain, interleavePlain, nothing, nothing};

#ifdef FAISS_VISION_X86

/// Four codes of a query, in every lane.
ALWAYS_INLINE int32_t fourCodes(const int8_t* query, size_t word) {
    int32_t bits;
    std::memcpy(&bits, query + word * 4, 4);
    return bits;
}

// ---- AVX2 ----

#define AVX2 __attribute__((target("avx2,fma")))

/// vpmaddubsw takes unsigned times signed and adds two products with saturation at 2^15. With |q| as the one and the vector's
/// code with the sign of q as the other a sum is at most 2 * 127 * 127 = 32,258: it never saturates.
template <size_t Count>
AVX2 inline void dotsAvx2Some(const uint8_t* codes, size_t words, const int8_t* query, size_t stride, int32_t* out, size_t outStride) {
    const __m256i flip = _mm256_set1_epi8(-128), ones = _mm256_set1_epi16(1);
    __m256i sum[Count][2];
#pragma GCC unroll 4
    for (size_t q = 0; q < Count; q++) sum[q][0] = sum[q][1] = _mm256_setzero_si256();
    for (size_t w = 0; w < words; w++) {
        const __m256i low = _mm256_xor_si256(_mm256_load_si256(reinterpret_cast<const __m256i*>(codes + w * kWord)), flip);
        const __m256i high = _mm256_xor_si256(_mm256_load_si256(reinterpret_cast<const __m256i*>(codes + w * kWord + 32)), flip);
#pragma GCC unroll 4
        for (size_t q = 0; q < Count; q++) {
            const __m256i four = _mm256_set1_epi32(fourCodes(query + q * stride, w));
            const __m256i size = _mm256_abs_epi8(four);
            sum[q][0] = _mm256_add_epi32(sum[q][0], _mm256_madd_epi16(_mm256_maddubs_epi16(size, _mm256_sign_epi8(low, four)), ones));
            sum[q][1] = _mm256_add_epi32(sum[q][1], _mm256_madd_epi16(_mm256_maddubs_epi16(size, _mm256_sign_epi8(high, four)), ones));
        }
    }
#pragma GCC unroll 4
    for (size_t q = 0; q < Count; q++) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + q * outStride), sum[q][0]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + q * outStride + 8), sum[q][1]);
    }
}

AVX2 void dotsAvx2(const uint8_t* codes, size_t words, size_t panels, const Queries& queries, int32_t* out, size_t outStride) {
    for (size_t p = 0; p < panels; p++) {
        const uint8_t* const panel = codes + p * words * kWord;
        size_t q = 0;
        for (; q + 4 <= queries.count; q += 4) {
            dotsAvx2Some<4>(panel, words, queries.codes + q * queries.stride, queries.stride, out + q * outStride + p * kLanes, outStride);
        }
        for (; q < queries.count; q++) {
            dotsAvx2Some<1>(panel, words, queries.codes + q * queries.stride, queries.stride, out + q * outStride + p * kLanes, outStride);
        }
    }
}

AVX2 size_t siftAvx2(const int32_t* dots, size_t count, const Scales& scales, const Probe& probe, uint16_t* positions, float* values) {
    const __m256 scale = _mm256_set1_ps(probe.scale), error = _mm256_set1_ps(probe.error), length = _mm256_set1_ps(probe.length);
    const __m256 reach = _mm256_set1_ps(probe.reach);
    size_t found = 0;
    for (size_t i = 0; i < count; i += 8) {
        const __m256 dot = _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(dots + i)));
        __m256 value = _mm256_fmsub_ps(_mm256_loadu_ps(scales.length + i), error, _mm256_loadu_ps(scales.half + i));
        value = _mm256_fmadd_ps(_mm256_loadu_ps(scales.error + i), length, value);
        value = _mm256_fmadd_ps(_mm256_loadu_ps(scales.scale + i), _mm256_mul_ps(dot, scale), value);
        unsigned mask = unsigned(_mm256_movemask_ps(_mm256_cmp_ps(value, reach, _CMP_NLT_UQ)));
        if (mask == 0) continue;
        if (i + 8 > count) mask &= (1u << (count - i)) - 1;
        alignas(32) float some[8];
        _mm256_store_ps(some, value);
        for (; mask != 0; mask &= mask - 1, found++) {
            const unsigned lane = unsigned(__builtin_ctz(mask));
            positions[found] = uint16_t(i + lane);
            values[found] = some[lane];
        }
    }
    return found;
}

AVX2 Coded codeAvx2(const float* x, const float* centre, size_t d, int8_t* codes) { return codeAll(x, centre, d, codes); }
AVX2 void interleaveAvx2(const int8_t* rows, size_t words, size_t first, size_t lanes, uint8_t* panel) {
    interleaveAll(rows, words, first, lanes, panel);
}

const Variant avx2 = {"avx2", dotsAvx2, dotsAvx2, siftAvx2, codeAvx2, interleaveAvx2, nothing, nothing};

// ---- AVX-512 VNNI ----

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))

/// One after the other through the memory, which is what a single query waits for.
AVX512 void dotsOfOneAvx512(const uint8_t* codes, size_t words, size_t panels, const Queries& queries, int32_t* out, size_t) {
    const int8_t* const query = queries.codes;
    const __m512i bias = _mm512_loadu_si512(queries.bias);
    for (size_t p = 0; p < panels; p++) {
        __m512i sum0 = bias, sum1 = _mm512_setzero_si512(), sum2 = sum1, sum3 = sum1;
        size_t w = 0;
        for (; w + 4 <= words; w += 4, codes += 4 * kWord) {
            for (size_t line = 0; line < 4; line++) _mm_prefetch(reinterpret_cast<const char*>(codes + 4096 + line * 64), _MM_HINT_T0);
            sum0 = _mm512_dpbusd_epi32(sum0, _mm512_load_si512(codes), _mm512_set1_epi32(fourCodes(query, w)));
            sum1 = _mm512_dpbusd_epi32(sum1, _mm512_load_si512(codes + kWord), _mm512_set1_epi32(fourCodes(query, w + 1)));
            sum2 = _mm512_dpbusd_epi32(sum2, _mm512_load_si512(codes + 2 * kWord), _mm512_set1_epi32(fourCodes(query, w + 2)));
            sum3 = _mm512_dpbusd_epi32(sum3, _mm512_load_si512(codes + 3 * kWord), _mm512_set1_epi32(fourCodes(query, w + 3)));
        }
        for (; w < words; w++, codes += kWord) sum0 = _mm512_dpbusd_epi32(sum0, _mm512_load_si512(codes), _mm512_set1_epi32(fourCodes(query, w)));
        _mm512_storeu_si512(out + p * kLanes, _mm512_add_epi32(_mm512_add_epi32(sum0, sum1), _mm512_add_epi32(sum2, sum3)));
    }
}

template <size_t Count, size_t Panels>
AVX512 inline void dotsAvx512Some(const uint8_t* codes, size_t words, const Queries& queries, size_t first, int32_t* out, size_t outStride) {
    const size_t stride = queries.stride, panel = words * kWord;
    const int8_t* const query = queries.codes + first * stride;
    __m512i sum[Count][Panels];
#pragma GCC unroll 8
    for (size_t q = 0; q < Count; q++) {
#pragma GCC unroll 4
        for (size_t p = 0; p < Panels; p++) sum[q][p] = _mm512_loadu_si512(queries.bias + (first + q) * kLanes);
    }
    for (size_t w = 0; w < words; w++, codes += kWord) {
        __m512i some[Panels];
#pragma GCC unroll 4
        for (size_t p = 0; p < Panels; p++) some[p] = _mm512_load_si512(codes + p * panel);
#pragma GCC unroll 8
        for (size_t q = 0; q < Count; q++) {
            const __m512i four = _mm512_set1_epi32(fourCodes(query + q * stride, w));
#pragma GCC unroll 4
            for (size_t p = 0; p < Panels; p++) sum[q][p] = _mm512_dpbusd_epi32(sum[q][p], some[p], four);
        }
    }
#pragma GCC unroll 8
    for (size_t q = 0; q < Count; q++) {
#pragma GCC unroll 4
        for (size_t p = 0; p < Panels; p++) _mm512_storeu_si512(out + (first + q) * outStride + p * kLanes, sum[q][p]);
    }
}

template <size_t Panels>
AVX512 inline void dotsAvx512Panels(const uint8_t* codes, size_t words, const Queries& queries, int32_t* out, size_t outStride) {
    size_t q = 0;
    for (; q + 6 <= queries.count; q += 6) dotsAvx512Some<6, Panels>(codes, words, queries, q, out, outStride);
    for (; q + 2 <= queries.count; q += 2) dotsAvx512Some<2, Panels>(codes, words, queries, q, out, outStride);
    if (q < queries.count) dotsAvx512Some<1, Panels>(codes, words, queries, q, out, outStride);
}

AVX512 void dotsAvx512(const uint8_t* codes, size_t words, size_t panels, const Queries& queries, int32_t* out, size_t outStride) {
    size_t p = 0;
    for (; p + 4 <= panels; p += 4) dotsAvx512Panels<4>(codes + p * words * kWord, words, queries, out + p * kLanes, outStride);
    for (; p < panels; p++) dotsAvx512Panels<1>(codes + p * words * kWord, words, queries, out + p * kLanes, outStride);
}

AVX512 size_t siftAvx512(const int32_t* dots, size_t count, const Scales& scales, const Probe& probe, uint16_t* positions, float* values) {
    const __m512 scale = _mm512_set1_ps(probe.scale), error = _mm512_set1_ps(probe.error), length = _mm512_set1_ps(probe.length);
    const __m512 reach = _mm512_set1_ps(probe.reach);
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t found = 0;
    for (size_t i = 0; i < count; i += 16) {
        const __m512 dot = _mm512_cvtepi32_ps(_mm512_loadu_si512(dots + i));
        __m512 value = _mm512_fmsub_ps(_mm512_loadu_ps(scales.length + i), error, _mm512_loadu_ps(scales.half + i));
        value = _mm512_fmadd_ps(_mm512_loadu_ps(scales.error + i), length, value);
        value = _mm512_fmadd_ps(_mm512_loadu_ps(scales.scale + i), _mm512_mul_ps(dot, scale), value);
        __mmask16 mask = _mm512_cmp_ps_mask(value, reach, _CMP_NLT_UQ);
        if (__builtin_expect(mask == 0, 1)) continue;
        if (i + 16 > count) mask = __mmask16(mask & ((1u << (count - i)) - 1));
        const __m512i at = _mm512_add_epi32(lanes, _mm512_set1_epi32(int(i)));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(positions + found), _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(mask, at)));
        _mm512_storeu_ps(values + found, _mm512_maskz_compress_ps(mask, value));
        found += size_t(__builtin_popcount(mask));
    }
    return found;
}

AVX512 Coded codeAvx512(const float* x, const float* centre, size_t d, int8_t* codes) { return codeAll(x, centre, d, codes); }
AVX512 void interleaveAvx512(const int8_t* rows, size_t words, size_t first, size_t lanes, uint8_t* panel) {
    interleaveAll(rows, words, first, lanes, panel);
}

const Variant avx512vnni = {"avx512vnni", dotsOfOneAvx512, dotsAvx512, siftAvx512, codeAvx512, interleaveAvx512, nothing, nothing};

#ifdef FAISS_VISION_AMX

// ---- AVX-VNNI: the same instruction on the shorter registers of processors without AVX-512 ----

#define AVXVNNI __attribute__((target("avx2,fma,avxvnni")))

template <size_t Count>
AVXVNNI inline void dotsAvxVnniSome(const uint8_t* codes, size_t words, const Queries& queries, size_t first, int32_t* out, size_t outStride) {
    const int8_t* const query = queries.codes + first * queries.stride;
    __m256i sum[Count][2];
#pragma GCC unroll 6
    for (size_t q = 0; q < Count; q++) {
        sum[q][0] = sum[q][1] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(queries.bias + (first + q) * kLanes));
    }
    for (size_t w = 0; w < words; w++, codes += kWord) {
        const __m256i low = _mm256_load_si256(reinterpret_cast<const __m256i*>(codes));
        const __m256i high = _mm256_load_si256(reinterpret_cast<const __m256i*>(codes + 32));
#pragma GCC unroll 6
        for (size_t q = 0; q < Count; q++) {
            const __m256i four = _mm256_set1_epi32(fourCodes(query + q * queries.stride, w));
            sum[q][0] = _mm256_dpbusd_avx_epi32(sum[q][0], low, four);
            sum[q][1] = _mm256_dpbusd_avx_epi32(sum[q][1], high, four);
        }
    }
#pragma GCC unroll 6
    for (size_t q = 0; q < Count; q++) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + (first + q) * outStride), sum[q][0]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + (first + q) * outStride + 8), sum[q][1]);
    }
}

AVXVNNI void dotsAvxVnni(const uint8_t* codes, size_t words, size_t panels, const Queries& queries, int32_t* out, size_t outStride) {
    for (size_t p = 0; p < panels; p++) {
        const uint8_t* const panel = codes + p * words * kWord;
        int32_t* const to = out + p * kLanes;
        size_t q = 0;
        for (; q + 6 <= queries.count; q += 6) dotsAvxVnniSome<6>(panel, words, queries, q, to, outStride);
        for (; q + 2 <= queries.count; q += 2) dotsAvxVnniSome<2>(panel, words, queries, q, to, outStride);
        if (q < queries.count) dotsAvxVnniSome<1>(panel, words, queries, q, to, outStride);
    }
}

const Variant avxvnni = {"avxvnni", dotsAvxVnni, dotsAvxVnni, siftAvx2, codeAvx2, interleaveAvx2, nothing, nothing};

// ---- AMX: tiles of 16 queries x 64 codes times tiles of 64 codes x 16 vectors ----

#define AMX __attribute__((target("amx-tile,amx-int8,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))

constexpr size_t kStep = 64;      // codes of one tile
constexpr size_t kTileBytes = 1024;

// The last step of a dimension that is no multiple of 64 reads on into what lies behind the panel: the queries are zero there.
AMX inline void dots32x32(const uint8_t* codes, size_t panel, size_t steps, const Queries& queries, size_t first, int32_t* out, size_t outStride) {
    const int8_t* const query = queries.codes + first * queries.stride;
    const size_t stride = queries.stride, rows = outStride * sizeof(int32_t);
    const int32_t* const bias = queries.bias + first * kLanes;
    _tile_loadd(0, bias, 64);
    _tile_loadd(1, bias, 64);
    _tile_loadd(2, bias + 16 * kLanes, 64);
    _tile_loadd(3, bias + 16 * kLanes, 64);
    for (size_t s = 0; s < steps; s++) {
        _tile_loadd(4, query + s * kStep, stride);
        _tile_loadd(6, codes + s * kTileBytes, 64);
        _tile_loadd(7, codes + panel + s * kTileBytes, 64);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        _tile_loadd(5, query + 16 * stride + s * kStep, stride);
        _tile_dpbsud(2, 5, 6);
        _tile_dpbsud(3, 5, 7);
    }
    _tile_stored(0, out, rows);
    _tile_stored(1, out + kLanes, rows);
    _tile_stored(2, out + 16 * outStride, rows);
    _tile_stored(3, out + 16 * outStride + kLanes, rows);
}

AMX inline void dots16x32(const uint8_t* codes, size_t panel, size_t steps, const Queries& queries, size_t first, int32_t* out, size_t outStride) {
    const int8_t* const query = queries.codes + first * queries.stride;
    const size_t rows = outStride * sizeof(int32_t);
    const int32_t* const bias = queries.bias + first * kLanes;
    _tile_loadd(0, bias, 64);
    _tile_loadd(1, bias, 64);
    for (size_t s = 0; s < steps; s++) {
        _tile_loadd(4, query + s * kStep, queries.stride);
        _tile_loadd(6, codes + s * kTileBytes, 64);
        _tile_loadd(7, codes + panel + s * kTileBytes, 64);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
    }
    _tile_stored(0, out, rows);
    _tile_stored(1, out + kLanes, rows);
}

AMX inline void dots16x16(const uint8_t* codes, size_t steps, const Queries& queries, size_t first, int32_t* out, size_t outStride) {
    const int8_t* const query = queries.codes + first * queries.stride;
    _tile_loadd(0, queries.bias + first * kLanes, 64);
    for (size_t s = 0; s < steps; s++) {
        _tile_loadd(4, query + s * kStep, queries.stride);
        _tile_loadd(6, codes + s * kTileBytes, 64);
        _tile_dpbsud(0, 4, 6);
    }
    _tile_stored(0, out, outStride * sizeof(int32_t));
}

AMX void dotsAmx(const uint8_t* codes, size_t words, size_t panels, const Queries& queries, int32_t* out, size_t outStride) {
    if (queries.count < 4) return dotsAvx512(codes, words, panels, queries, out, outStride); // a tile would be nearly empty
    const size_t panel = words * kWord, steps = (words * 4 + kStep - 1) / kStep;
    size_t p = 0;
    for (; p + 2 <= panels; p += 2, codes += 2 * panel, out += 2 * kLanes) {
        size_t q = 0;
        for (; q + 16 < queries.count; q += 32) dots32x32(codes, panel, steps, queries, q, out + q * outStride, outStride);
        if (q < queries.count) dots16x32(codes, panel, steps, queries, q, out + q * outStride, outStride);
    }
    if (p < panels) {
        for (size_t q = 0; q < queries.count; q += 16) dots16x16(codes, steps, queries, q, out + q * outStride, outStride);
    }
}

const Variant amx = {"amx", dotsOfOneAvx512, dotsAmx, siftAvx512, codeAvx512, interleaveAvx512, faiss_vision::amx::enter, faiss_vision::amx::leave};

#endif // FAISS_VISION_AMX
#endif // FAISS_VISION_X86

std::vector<Variant> supported() {
    std::vector<Variant> result;
#ifdef FAISS_VISION_X86
    __builtin_cpu_init();
    const bool hasAvx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool hasAvx512 = hasAvx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#ifdef FAISS_VISION_AMX
    if (hasAvx512 && faiss_vision::amx::granted(faiss_vision::amx::Kind::Int8)) result.push_back(amx);
#endif
    if (hasAvx512) result.push_back(avx512vnni);
#ifdef FAISS_VISION_AMX
    if (hasAvx2 && faiss_vision::amx::cpuHas(7, 1, 0, 4)) result.push_back(avxvnni);
#endif
    if (hasAvx2) result.push_back(avx2);
#endif
    result.push_back(plain);
    return result;
}

} // namespace

const std::vector<Variant>& variants() {
    static const std::vector<Variant> found = supported();
    return found;
}

const Variant* variant(const std::string& name) {
    for (const Variant& one : variants()) {
        if (one.name == name) return &one;
    }
    return nullptr;
}

const Variant& chosen() {
    static const Variant& best = [&]() -> const Variant& {
        const char* const wanted = std::getenv("FAISS_VISION_BYTE_KERNELS");
        const Variant* const named = wanted == nullptr ? nullptr : variant(wanted);
        return named == nullptr ? variants().front() : *named;
    }();
    return best;
}

} // namespace faiss_vision::bytes
