#include "vision/products.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "amx.h"
#include "vision/winograd.h"

namespace faiss_vision::products {

float fromBf16(uint16_t value) {
    const uint32_t bits = uint32_t{value} << 16;
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
}

uint16_t toBf16(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (std::isnan(value)) return uint16_t(bits >> 16 | 0x40); // rounding could make it infinite
    return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16); // to even where it lies in the middle
}

#ifdef FAISS_VISION_AMX
namespace {

#define BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
#define AMX __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))

BF16 inline __m512 wide(__m256i upper) { return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, _mm512_maskz_cvtepu16_epi32(0xffff, upper), 16)); }

BF16 inline void take32(__m512 a, __m512 b, uint16_t* high, uint16_t* low) {
    if (low == nullptr) {
        const __m512bh both = _mm512_cvtne2ps_pbh(b, a);
        std::memcpy(high, &both, sizeof both);
        return;
    }
    const __m256bh ha = _mm512_cvtneps_pbh(a), hb = _mm512_cvtneps_pbh(b);
    __m256i upperA, upperB;
    std::memcpy(&upperA, &ha, sizeof upperA);
    std::memcpy(&upperB, &hb, sizeof upperB);
    _mm256_store_si256(reinterpret_cast<__m256i*>(high), upperA);
    _mm256_store_si256(reinterpret_cast<__m256i*>(high + 16), upperB);
    const __m512bh rest = _mm512_cvtne2ps_pbh(_mm512_sub_ps(b, wide(upperB)), _mm512_sub_ps(a, wide(upperA)));
    std::memcpy(low, &rest, sizeof rest);
}

BF16 void take(const float* from, int count, uint16_t* high, uint16_t* low) {
    for (; count > 0; count -= kDepth, from += kDepth, high += kRows * kDepth) {
        if (count >= kDepth) {
            take32(_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16), high, low);
        } else {
            const uint32_t there = (1u << count) - 1;
            take32(_mm512_maskz_loadu_ps(__mmask16(there), from), _mm512_maskz_loadu_ps(__mmask16(there >> 16), from + 16), high, low);
        }
        if (low != nullptr) low += kRows * kDepth;
    }
}

BF16 void takeSquare(const float* const* from, int count, uint16_t* to, ptrdiff_t step) {
    const float* places[16]; // the compiler must think that a store might change those in memory
    std::copy_n(from, 16, places);
    for (int c = 0; c < (count + kDepth - 1) / kDepth * kDepth; c += 16) {
        const __mmask16 there = __mmask16((1u << std::clamp(count - c, 0, 16)) - 1);
        __m512 square[4][4];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) square[i / 4][i % 4] = _mm512_maskz_loadu_ps(there, places[i] + c);
        winogradSquare(square);
        uint16_t* const place = to + c / kDepth * kRows * kDepth + c % kDepth;
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            const __m256bh halves = _mm512_cvtneps_pbh(square[i / 4][i % 4]);
            std::memcpy(place + i * step, &halves, sizeof halves);
        }
    }
}

// ---- AVX-512 with bf16: a pair of inputs against that pair's weights of 16 channels ----

template <int Rows>
BF16 inline void multiplyRows(const uint16_t* inputs, const uint16_t* weights, size_t depth, bool onto, float* sums) {
    __m512 sum[Rows][2];
    for (int row = 0; row < Rows; row++) {
        sum[row][0] = onto ? _mm512_loadu_ps(sums + row * kChannels) : _mm512_setzero_ps();
        sum[row][1] = onto ? _mm512_loadu_ps(sums + row * kChannels + 16) : _mm512_setzero_ps();
    }
    for (size_t begin = 0; begin < depth; begin += kDepth, inputs += kRows * kDepth, weights += chunkNumbers(false)) {
        const int pairs = int(std::min<size_t>(kDepth, depth - begin) + 1) / 2;
        for (int pair = 0; pair < pairs; pair++) {
            __m512bh w[2];
            std::memcpy(&w[0], weights + pair * 32, 64);
            std::memcpy(&w[1], weights + 512 + pair * 32, 64);
#pragma GCC unroll 12
            for (int row = 0; row < Rows; row++) {
                int32_t both;
                std::memcpy(&both, inputs + row * kDepth + pair * 2, sizeof both);
                const __m512i spread = _mm512_set1_epi32(both);
                __m512bh x;
                std::memcpy(&x, &spread, sizeof x);
                sum[row][0] = _mm512_dpbf16_ps(sum[row][0], x, w[0]);
                sum[row][1] = _mm512_dpbf16_ps(sum[row][1], x, w[1]);
            }
        }
    }
    for (int row = 0; row < Rows; row++) {
        _mm512_storeu_ps(sums + row * kChannels, sum[row][0]);
        _mm512_storeu_ps(sums + row * kChannels + 16, sum[row][1]);
    }
}

BF16 void multiplyAvx512(const Inputs& inputs, const uint16_t* weights, size_t depth, bool onto, float* sums) {
    for (int row = 0; row < inputs.rows; row += 12) {
        const uint16_t* const some = inputs.high + row * kDepth;
        float* const to = sums + row * kChannels;
        const int rest = inputs.rows - row;
        if (rest > 8) multiplyRows<12>(some, weights, depth, onto, to);
        else if (rest > 4) multiplyRows<8>(some, weights, depth, onto, to);
        else multiplyRows<4>(some, weights, depth, onto, to);
    }
}

// ---- AMX: tiles of 16 rows x 32 inputs times tiles of 32 inputs x 16 channels ----

constexpr size_t kTile = 512; // numbers of a tile
#define MULTIPLY_32()         \
    _tile_dpbf16ps(0, 4, 6);  \
    _tile_dpbf16ps(1, 4, 7);  \
    _tile_dpbf16ps(2, 5, 6);  \
    _tile_dpbf16ps(3, 5, 7)
#define MULTIPLY_16()         \
    _tile_dpbf16ps(0, 4, 6);  \
    _tile_dpbf16ps(1, 4, 7)

AMX void multiplyAmx(const Inputs& inputs, const uint16_t* weights, size_t depth, bool onto, float* sums) {
    const size_t chunks = (depth + kDepth - 1) / kDepth;
    const uint16_t *high = inputs.high, *low = inputs.low;
    constexpr size_t step = kChannels * sizeof(float);
    if (onto) {
        _tile_loadd(0, sums, step);
        _tile_loadd(1, sums + 16, step);
    } else {
        _tile_zero(0);
        _tile_zero(1);
    }
    if (inputs.rows > 16) {
        if (onto) {
            _tile_loadd(2, sums + 16 * kChannels, step);
            _tile_loadd(3, sums + 16 * kChannels + 16, step);
        } else {
            _tile_zero(2);
            _tile_zero(3);
        }
        for (size_t chunk = 0; chunk < chunks; chunk++, high += 2 * kTile, weights += 2 * kTile) {
            _tile_loadd(4, high, 64);
            _tile_loadd(5, high + kTile, 64);
            _tile_loadd(6, weights, 64);
            _tile_loadd(7, weights + kTile, 64);
            MULTIPLY_32();
            if (low == nullptr) continue;
            _tile_loadd(4, low, 64);
            _tile_loadd(5, low + kTile, 64);
            MULTIPLY_32();
            weights += 2 * kTile;
            _tile_loadd(6, weights, 64);
            _tile_loadd(7, weights + kTile, 64);
            _tile_loadd(4, high, 64);
            _tile_loadd(5, high + kTile, 64);
            MULTIPLY_32();
            low += 2 * kTile;
        }
        _tile_stored(2, sums + 16 * kChannels, step);
        _tile_stored(3, sums + 16 * kChannels + 16, step);
    } else {
        for (size_t chunk = 0; chunk < chunks; chunk++, high += 2 * kTile, weights += 2 * kTile) {
            _tile_loadd(4, high, 64);
            _tile_loadd(6, weights, 64);
            _tile_loadd(7, weights + kTile, 64);
            MULTIPLY_16();
            if (low == nullptr) continue;
            _tile_loadd(5, low, 64);
            _tile_dpbf16ps(0, 5, 6);
            _tile_dpbf16ps(1, 5, 7);
            weights += 2 * kTile;
            _tile_loadd(6, weights, 64);
            _tile_loadd(7, weights + kTile, 64);
            MULTIPLY_16();
            low += 2 * kTile;
        }
    }
    _tile_stored(0, sums, step);
    _tile_stored(1, sums + 16, step);
}

std::vector<Variant> supported() {
    std::vector<Variant> result;
    __builtin_cpu_init();
    const bool bf16 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && amx::cpuHas(7, 1, 0, 5);
    if (bf16 && amx::granted(amx::Kind::Bf16)) result.push_back({"amx", true, take, takeSquare, multiplyAmx, amx::enter, amx::leave});
    if (bf16) result.push_back({"avx512bf16", false, take, takeSquare, multiplyAvx512, nullptr, nullptr});
    return result;
}

} // namespace

const std::vector<Variant>& variants() {
    static const std::vector<Variant> found = supported();
    return found;
}
#else
const std::vector<Variant>& variants() {
    static const std::vector<Variant> none;
    return none;
}
#endif

} // namespace faiss_vision::products
