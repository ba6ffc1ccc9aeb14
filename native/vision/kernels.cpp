#include "vision/kernels.h"

#include <algorithm>
#include <utility>

#include "vision/vectors.h"
#include "vision/winograd.h"

namespace faiss_vision::kernels {
namespace {

using namespace vectors;

/// Block x Vectors accumulators stay in registers while the inputs of Block positions pass by once.
template <int Lanes, int Vectors, int Block>
ALWAYS_INLINE void convolveBlock(const PackedConv& conv, int group, int channel, const ConvRun& run, int64_t first, int count) {
    using V = Floats<Lanes>;
    const ptrdiff_t step = run.step, width = conv.groupWidth(group);
    const float* weights = conv.weights(group) + channel;
    const float* bias = conv.bias(group) + channel;
    const float* slope = conv.slope(group) + channel;
    float* out = run.out + first * run.outStep + channel;

    V sum[Block][Vectors];
#pragma GCC unroll 16
    for (int b = 0; b < Block; b++) {
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) sum[b][v] = load<V>(bias + v * Lanes);
    }
    for (int row = 0; row < conv.kernelHeight(); row++) {
        // Three positions per pointer: one index register and few pointers reach all of them.
        const float* in0 = run.rows[row] + first * step;
        const float *in1 = in0 + 3 * step, *in2 = in0 + 6 * step, *in3 = in0 + 9 * step;
        const float* end = in0 + conv.inputsPerRow();
        for (; in0 != end; in0++, in1++, in2++, in3++, weights += width) {
            V w[Vectors];
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; v++) w[v] = load<V>(weights + v * Lanes);
#pragma GCC unroll 16
            for (int b = 0; b < Block; b++) {
                const float* in = b < 3 ? in0 : b < 6 ? in1 : b < 9 ? in2 : in3;
                const float x = in[b % 3 * step];
#pragma GCC unroll 4
                for (int v = 0; v < Vectors; v++) sum[b][v] += w[v] * x;
            }
        }
    }
#pragma GCC unroll 16
    for (int b = 0; b < Block; b++) {
        if (b >= count) break;
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; v++) {
            const V scaled = sum[b][v] * load<V>(slope + v * Lanes);
            at<V>(out + b * run.outStep + v * Lanes) = sum[b][v] > 0 ? sum[b][v] : scaled;
        }
    }
}

template <int Lanes, int Vectors, int Block>
ALWAYS_INLINE void convolveChannels(const PackedConv& conv, int group, const ConvRun& run) {
    // Last channels first: what they write beyond the layer's channels is the next position's first ones.
    for (int channel = conv.groupWidth(group) - Lanes * Vectors; channel >= 0; channel -= Lanes * Vectors) {
        int64_t p = 0;
        const auto rest = [&] { return run.positions - p; };
        for (; rest() > 2 * Block / 3; p += Block) {
            convolveBlock<Lanes, Vectors, Block>(conv, group, channel, run, p, int(std::min<int64_t>(Block, rest())));
        }
        // A short rest is not worth a whole block: the deep layers' small maps leave it, and Convolution's 32 rows do.
        if (rest() > Block / 3) {
            convolveBlock<Lanes, Vectors, 2 * Block / 3>(conv, group, channel, run, p, int(rest()));
        } else if (rest() > 0) {
            convolveBlock<Lanes, Vectors, Block / 3>(conv, group, channel, run, p, int(rest()));
        }
    }
}

/// Vectors and Block fill the registers: 32 for AVX-512, 16 otherwise.
template <int Lanes, int Block>
ALWAYS_INLINE void convolveAll(const PackedConv& conv, int group, const ConvRun& run) {
    if (conv.groupWidth(group) >= 2 * Lanes) {
        convolveChannels<Lanes, 2, Block>(conv, group, run);
    } else {
        convolveChannels<Lanes, 1, Block>(conv, group, run);
    }
}

template <int Lanes, int Window>
ALWAYS_INLINE void maxPoolAll(const PoolRow& row) {
    using V = Floats<Lanes>;
    const ptrdiff_t channels = row.channels, step = row.step ? row.step : channels, outStep = row.outStep ? row.outStep : channels;
    for (int x = 0; x < row.outWidth; x++) {
        const int begin = x * row.stride, columns = std::min(Window, row.width - begin);
        const float* window = row.in + begin * step;
        float* out = row.out + x * outStep;
        // Vectors may reach into the next position's channels: the next store overwrites what that gives.
        for (ptrdiff_t c = 0; c < channels; c += Lanes) {
            V best = load<V>(window + c);
            for (int y = 0; y < row.rows; y++) {
                const float* in = window + y * row.rowStep + c;
#pragma GCC unroll 3
                for (int column = 0; column < Window; column++) {
                    if (column >= columns) break;
                    const V value = load<V>(in + column * step);
                    best = value > best ? value : best;
                }
            }
            at<V>(out + c) = best;
        }
    }
}

template <int Lanes>
ALWAYS_INLINE void maxPoolAny(const PoolRow& row) {
    if (row.window == 2) {
        maxPoolAll<Lanes, 2>(row);
    } else {
        maxPoolAll<Lanes, 3>(row);
    }
}

template <int Lanes>
ALWAYS_INLINE void finishAll(const FinishedRows& rows) {
    using V = Floats<Lanes>;
    constexpr int kVectors = PackedConv::kGroup / Lanes;
    V bias[kVectors], slope[kVectors]; // kept in registers: the compiler must think that a store might change those in memory
    const bool whole = rows.channels == PackedConv::kGroup;
    if (whole) {
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; v++) bias[v] = load<V>(rows.bias + v * Lanes), slope[v] = load<V>(rows.slope + v * Lanes);
    }
    for (int row = 0; row < rows.rows; row++) {
        const float* const sums = rows.sums + row * rows.step;
        const float* const add = rows.add == nullptr ? nullptr : rows.add[row] + rows.first;
        float* const out = rows.out[row] + rows.first;
        if (whole) {
#pragma GCC unroll 8
            for (int v = 0; v < kVectors; v++) {
                V sum = load<V>(sums + v * Lanes) + bias[v];
                if (add != nullptr) sum += load<V>(add + v * Lanes);
                const V scaled = sum * slope[v];
                at<V>(out + v * Lanes) = sum > 0 ? sum : scaled;
            }
            continue;
        }
        for (int c = 0; c < rows.channels; c++) {
            const float sum = sums[c] + rows.bias[c] + (add == nullptr ? 0 : add[c]);
            out[c] = sum > 0 ? sum : sum * rows.slope[c];
        }
    }
}

template <int Lanes>
ALWAYS_INLINE void winogradInAll(const WinogradIn& tile) {
    using V = Floats<Lanes>;
    const float* from[16];
    std::copy_n(tile.from, 16, from);
    for (int c = 0; c < tile.channels; c += Lanes) {
        V square[4][4];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) square[i / 4][i % 4] = load<V>(from[i] + c);
        winogradSquare(square);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) at<V>(tile.to + i * tile.step + c) = square[i / 4][i % 4];
    }
}

template <int Lanes>
ALWAYS_INLINE void winogradOutAll(const WinogradOut& tile) {
    using V = Floats<Lanes>;
    for (int c = 0; c < tile.channels; c += Lanes) {
        V rows[2][4];
#pragma GCC unroll 4
        for (int x = 0; x < 4; x++) {
            const float* const sums = tile.sums + x * tile.step + c;
            const V a = load<V>(sums), b = load<V>(sums + 4 * tile.step), d = load<V>(sums + 8 * tile.step), e = load<V>(sums + 12 * tile.step);
            rows[0][x] = a + b + d, rows[1][x] = b - d - e;
        }
        const V bias = load<V>(tile.bias + c), slope = load<V>(tile.slope + c);
        const int whole = std::min(Lanes, tile.channels - c);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            if (tile.out[i] == nullptr) continue;
            const V* const row = rows[i / 2];
            V sum = bias + (i % 2 == 0 ? row[0] + row[1] + row[2] : row[1] - row[2] - row[3]);
            float* const out = tile.out[i] + tile.first + c;
            const float* const add = tile.add == nullptr ? nullptr : tile.add[i] + tile.first + c;
            if (whole == Lanes) {
                if (add != nullptr) sum += load<V>(add);
                at<V>(out) = sum > 0 ? sum : sum * slope;
                continue;
            }
            for (int lane = 0; lane < whole; lane++) {
                const float one = sum[lane] + (add == nullptr ? 0 : add[lane]);
                out[lane] = one > 0 ? one : one * tile.slope[c + lane];
            }
        }
    }
}

/// sums[i] += Rows rows of bytes, or = for the first ones: byte by byte, since behind the last pixel there may be nothing to read.
template <int Rows, class Sum>
ALWAYS_INLINE void addBytes(const uint8_t* pixels, ptrdiff_t stride, int count, bool first, Sum* sums) {
    for (int i = 0; i < count; i++) {
        Sum sum = first ? Sum(0) : sums[i];
        for (int y = 0; y < Rows; y++) sum = Sum(sum + pixels[y * stride + i]);
        sums[i] = sum;
    }
}

/// The numbers of the first halves of two vectors in turn, or of the second halves.
template <class V, int... I>
ALWAYS_INLINE V inTurn(const V& a, const V& b, int half, std::integer_sequence<int, I...>) {
    constexpr int kLanes = sizeof...(I);
#ifdef __clang__
    return half == 0 ? __builtin_shufflevector(a, b, (I / 2 + I % 2 * kLanes)...)
                     : __builtin_shufflevector(a, b, ((I + kLanes) / 2 + I % 2 * kLanes)...);
#else
    return half == 0 ? __builtin_shuffle(a, b, V{(I / 2 + I % 2 * kLanes)...}) : __builtin_shuffle(a, b, V{((I + kLanes) / 2 + I % 2 * kLanes)...});
#endif
}

// Bytes are widened by taking those at even and at odd places apart: of __builtin_convertvector GCC makes several times the instructions.
template <int Lanes, int Rows>
ALWAYS_INLINE void addRows(const uint8_t* pixels, ptrdiff_t stride, int count, bool first, uint16_t* sums) {
    using Bytes = typename VectorOf<uint8_t, 2 * Lanes>::type;
    using V = typename VectorOf<uint16_t, Lanes>::type;
    constexpr auto kLanes = std::make_integer_sequence<int, Lanes>();
    const int whole = count / (2 * Lanes) * (2 * Lanes);
    for (int i = 0; i < whole; i += 2 * Lanes) {
        V even = {}, odd = {};
#pragma GCC unroll 4
        for (int y = 0; y < Rows; y++) {
            const V both = reinterpret_cast<V>(load<Bytes>(pixels + y * stride + i));
            even += both & 0xff;
            odd += both >> 8;
        }
        V low = inTurn(even, odd, 0, kLanes), high = inTurn(even, odd, 1, kLanes);
        if (!first) low += load<V>(sums + i), high += load<V>(sums + i + Lanes);
        *reinterpret_cast<V*>(sums + i) = low;
        *reinterpret_cast<V*>(sums + i + Lanes) = high;
    }
    if constexpr (Lanes > 8) return addRows<Lanes / 2, Rows>(pixels + whole, stride, count - whole, first, sums + whole);
    else addBytes<Rows>(pixels + whole, stride, count - whole, first, sums + whole);
}

/// For windows of more rows than 16 bits can sum, which only the smallest levels of very large pictures have.
template <int Lanes, int Rows>
ALWAYS_INLINE void addRows(const uint8_t* pixels, ptrdiff_t stride, int count, bool first, uint32_t* sums) {
    using Bytes = typename VectorOf<uint8_t, Lanes>::type;
    using Sums = typename VectorOf<uint32_t, Lanes>::type;
    const int whole = count / Lanes * Lanes;
    for (int i = 0; i < whole; i += Lanes) {
        Sums sum = first ? Sums{} : load<Sums>(sums + i);
#pragma GCC unroll 4
        for (int y = 0; y < Rows; y++) sum += __builtin_convertvector(load<Bytes>(pixels + y * stride + i), Sums);
        *reinterpret_cast<Sums*>(sums + i) = sum;
    }
    addBytes<Rows>(pixels + whole, stride, count - whole, first, sums + whole);
}

template <int Lanes, class Sum>
ALWAYS_INLINE void sumRows(const AreaRow& row, Sum* sums) {
    const int count = 3 * row.sourceWidth;
    int y = 0;
    for (; y + 4 <= row.rows; y += 4) addRows<Lanes, 4>(row.pixels + y * row.stride, row.stride, count, y == 0, sums);
    const uint8_t* rest = row.pixels + y * row.stride;
    switch (row.rows - y) {
    case 3: return addRows<Lanes, 3>(rest, row.stride, count, y == 0, sums);
    case 2: return addRows<Lanes, 2>(rest, row.stride, count, y == 0, sums);
    case 1: return addRows<Lanes, 1>(rest, row.stride, count, y == 0, sums);
    }
}

/// Four sums, of eight that can be read.
ALWAYS_INLINE VectorOf<int32_t, 4>::type four(const uint16_t* sums) {
    using V = VectorOf<uint16_t, 8>::type;
    return reinterpret_cast<VectorOf<int32_t, 4>::type>(inTurn(load<V>(sums), V{}, 0, std::make_integer_sequence<int, 8>()));
}
ALWAYS_INLINE VectorOf<int32_t, 4>::type four(const uint32_t* sums) { return load<VectorOf<int32_t, 4>::type>(sums); }

/// Windows are `Narrow` columns wide or one more; 0 stands for any number, taken from the row.
template <int Narrow, class Sum>
ALWAYS_INLINE void averageColumns(const AreaRow& row, const Sum* sums) {
    using SumV = typename VectorOf<int32_t, 4>::type; // a window has at most 683 x 683 pixels: it fits
    const int narrow = Narrow ? Narrow : row.narrow;
    const float scale = row.scale / float(row.rows);
    float* out = row.out;
    for (int x = 0; x < row.width; x++, out += 3) {
        const Column column = row.columns[x];
        const Sum* in = sums + ptrdiff_t{3} * column.begin;
        // Without a branch on the width, which no processor could foresee.
        SumV sum = four(in + 3 * narrow) & column.lastOne;
        for (int i = 0; i < narrow; i++) sum += four(in + 3 * i);
        // The fourth lane is the next pixel's: the next store overwrites it.
        at<Floats<4>>(out) = __builtin_convertvector(sum, Floats<4>) * (column.weight * scale) + row.offset;
    }
}

template <int Lanes, class Sum>
ALWAYS_INLINE void resampleWith(const AreaRow& row, Sum* sums) {
    sumRows<Lanes>(row, sums);
    switch (row.narrow) {
    case 1: return averageColumns<1>(row, sums);
    case 2: return averageColumns<2>(row, sums);
    case 3: return averageColumns<3>(row, sums);
    default: return averageColumns<0>(row, sums);
    }
}

template <int Lanes>
ALWAYS_INLINE void resampleAll(const AreaRow& row) {
    if (row.rows <= 257) { // 257 * 255 = 65535
        resampleWith<2 * Lanes>(row, static_cast<uint16_t*>(row.sums));
    } else {
        resampleWith<Lanes>(row, static_cast<uint32_t*>(row.sums));
    }
}

#define VARIANT(name, attribute, lanes, block)                                              \
    attribute void convolve_##name(const PackedConv& conv, int group, const ConvRun& run) { \
        convolveAll<lanes, block>(conv, group, run);                                        \
    }                                                                                       \
    attribute void maxPool_##name(const PoolRow& row) { maxPoolAny<lanes>(row); }           \
    attribute void resampleRow_##name(const AreaRow& row) { resampleAll<lanes>(row); }      \
    attribute void finish_##name(const FinishedRows& rows) { finishAll<lanes>(rows); }      \
    attribute void winogradIn_##name(const WinogradIn& tile) { winogradInAll<lanes>(tile); } \
    attribute void winogradOut_##name(const WinogradOut& tile) { winogradOutAll<lanes>(tile); } \
    const Variant name = {#name, convolve_##name, maxPool_##name, resampleRow_##name, finish_##name, winogradIn_##name, winogradOut_##name};

#ifdef FAISS_VISION_X86
VARIANT(avx512, FAISS_VISION_AVX512, 16, 12)
VARIANT(avx2, FAISS_VISION_AVX2, 8, 6)
#endif
VARIANT(baseline, , 4, 6)

} // namespace

const std::vector<Variant>& variants() {
    static const std::vector<Variant> found = runnable<Variant>(FAISS_VISION_VARIANTS);
    return found;
}

} // namespace faiss_vision::kernels
