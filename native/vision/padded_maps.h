#pragma once

#include <cstddef>
#include <vector>

#include "vision/kernels.h"
#include "vision/packed_conv.h"
#include "vision/parallel.h"

namespace faiss_vision {

/// A batch of feature maps, each inside a frame of zeros, which 3 x 3 convolutions with padding read over the edge.
/// The zero behind a row is the one before the next row, so a row takes width + 1 positions.
class PaddedMaps {
public:
    PaddedMaps(int64_t count, int height, int width, int channels);

    int64_t count() const { return count_; }
    int height() const { return height_; }
    int width() const { return width_; }
    int channels() const { return channels_; }
    ptrdiff_t rowStep() const { return ptrdiff_t{width_ + 1} * channels_; }

    /// The first channel of a position; y and x may be -1, height and width: the frame.
    float* at(int64_t map, int y, int x) { return values_.data() + offset(map, y, x); }
    const float* at(int64_t map, int y, int x) const { return values_.data() + offset(map, y, x); }

private:
    ptrdiff_t offset(int64_t map, int y, int x) const {
        return map * mapStep_ + (y + 1) * rowStep() + ptrdiff_t{x + 1} * channels_;
    }

    int64_t count_;
    int height_, width_, channels_;
    ptrdiff_t mapStep_;
    std::vector<float> values_;
};

// Each of these is one step of a walk.

/// A convolution of a whole batch. What is in `out` already is added before the activation where `accumulate` says so.
/// `out` may be larger than the result, which then lies at its top left.
/// @param padding  0, or 1 for a 3 x 3 kernel with stride 1
void convolve(const PackedConv& conv, const PaddedMaps& in, int stride, int padding, bool accumulate, PaddedMaps& out,
              Steps::Walk& walk);

/// A max pool of 3 x 3 with stride 2, without padding.
void maxPool3(const PaddedMaps& in, PaddedMaps& out, Steps::Walk& walk);

/// The mean of each 2 x 2 square. Channels of `out` that `in` does not have become zero.
void averagePool2(const PaddedMaps& in, PaddedMaps& out, Steps::Walk& walk);

} // namespace faiss_vision
