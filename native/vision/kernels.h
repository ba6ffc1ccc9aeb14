#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vision/packed_conv.h"

/// The few inner loops in which the networks spend their time. Each is compiled for several instruction sets
/// (AVX-512, AVX2, and what the compiler's baseline allows) and the best one that the processor has is used.
/// Maps are stored with the channels of one position side by side.
namespace faiss_vision::kernels {

/// Positions that are worked on at once. convolve() may read (never write) the inputs of this many positions, and every
/// function may read or write this many floats beyond the last position: buffers have room for both behind their end.
constexpr int kBlock = 12;
constexpr int kSlack = 32;

/// out[p][c] = activation(bias[c] + sum of weights x inputs), for one group of the layer's channels.
struct ConvRun {
    const float* const* rows; ///< kernelHeight pointers: where the inputs of the first position begin in each kernel row
    ptrdiff_t step;           ///< floats from one position's inputs to the next one's
    int64_t positions;
    float* out;        ///< of the group's first channel
    ptrdiff_t outStep; ///< floats from one position's output to the next one's, at least the layer's channels
};

/// One row of a max pool: the maximum over `rows` rows and `window` columns, `stride` columns apart.
/// Windows that stand over the right edge are cut there.
struct PoolRow {
    const float* in;
    ptrdiff_t rowStep;            ///< floats from one input row to the next
    int rows, width;              ///< input rows to look at, input columns
    int channels, window, stride; ///< window: 2 or 3
    float* out;
    int outWidth;
    ptrdiff_t step = 0, outStep = 0; ///< floats from one position to the next; 0: the channels. Else they are multiples of 16
};

/// What follows a block of sums: + bias, + what is to be added, activation, and to their places.
struct FinishedRows {
    const float* sums;
    ptrdiff_t step; ///< floats from one row's sums to the next
    int rows, channels;
    const float* bias;
    const float* slope;
    ptrdiff_t first;         ///< floats from the places below to the first of these channels
    float* const* out;       ///< where each row goes
    const float* const* add; ///< null, or where what is to be added to each row is
};

/// Winograd's F(2 x 2, 3 x 3) (Lavin, Gray: "Fast Algorithms for Convolutional Neural Networks", 2016): a square of 2 x 2 outputs of
/// a 3 x 3 convolution from 16 products for each pair of channels, where 36 would be needed one by one. In front of the products
/// the 4 x 4 inputs are put together ...
struct WinogradIn {
    const float* const* from; ///< 16 positions, row by row
    int channels;
    float* to;
    ptrdiff_t step; ///< floats from one of the 16 results to the next
};

/// ... and behind them their 16 sums; then as in FinishedRows, for four places, of which those that are null are left out.
struct WinogradOut {
    const float* sums;
    ptrdiff_t step; ///< floats from one of the 16 to the next
    int channels;
    const float* bias;
    const float* slope;
    ptrdiff_t first;
    float* const* out;
    const float* const* add;
};

/// One output column of an area resampling: source columns from `begin` on, AreaRow::narrow of them or one more.
struct Column {
    int begin;
    int lastOne;  ///< -1 (all bits set) where it is one more, else 0
    float weight; ///< 1 / number of columns
};

/// One row of an area resampling of RGB bytes: scale * (mean over the window) + offset.
struct AreaRow {
    const uint8_t* pixels; ///< first pixel of the first source row
    ptrdiff_t stride;      ///< bytes between source rows
    int rows, sourceWidth; ///< source rows in the window, pixels in a source row
    const Column* columns;
    int width, narrow;
    float scale, offset;
    void* sums; ///< scratch: 3 * sourceWidth + kSlack numbers of 4 bytes
    float* out; ///< 3 * width floats
};

/// The loops for one instruction set.
struct Variant {
    const char* name; ///< "avx512", "avx2" or "baseline"
    void (*convolve)(const PackedConv& conv, int group, const ConvRun& run);
    void (*maxPool)(const PoolRow& row);
    void (*resampleRow)(const AreaRow& row);
    void (*finish)(const FinishedRows& rows);
    void (*winogradIn)(const WinogradIn& tile);
    void (*winogradOut)(const WinogradOut& tile);
};

/// Those that this processor can run, the fastest first: that is the one the functions below use.
const std::vector<Variant>& variants();

inline void convolve(const PackedConv& conv, int group, const ConvRun& run) { variants().front().convolve(conv, group, run); }
inline void maxPool(const PoolRow& row) { variants().front().maxPool(row); }
inline void resampleRow(const AreaRow& row) { variants().front().resampleRow(row); }
inline void finish(const FinishedRows& rows) { variants().front().finish(rows); }
inline void winogradIn(const WinogradIn& tile) { variants().front().winogradIn(tile); }
inline void winogradOut(const WinogradOut& tile) { variants().front().winogradOut(tile); }

} // namespace faiss_vision::kernels
