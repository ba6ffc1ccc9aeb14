#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "vision/convolution.h"
#include "vision/kernels.h"
#include "vision/packed_conv.h"

namespace faiss_vision {

/// One feature map: height x width positions, the channels of a position side by side.
/// A row holds `pitch` positions; those from `width` on mean nothing.
struct FeatureMap {
    float* data;
    int height, width, channels;
    int pitch;

    ptrdiff_t rowStep() const { return ptrdiff_t{pitch} * channels; }
    float* row(int y) const { return data + y * rowStep(); }
};

/// Memory for the maps of one forward pass on one thread: taken piece by piece, given back together.
class Workspace {
public:
    /// Room for so many positions and for the block that the kernels may touch behind them; valid until rewind().
    float* take(size_t positions, int channels) {
        const size_t needed = (positions + kernels::kBlock) * channels + kernels::kSlack;
        if (pieces_.size() <= next_) pieces_.emplace_back();
        std::vector<float>& piece = pieces_[next_++];
        if (piece.size() < needed) piece.resize(needed);
        return piece.data();
    }
    FeatureMap map(int height, int width, int channels, int pitch) {
        return {take(size_t(height) * pitch, channels), height, width, channels, pitch};
    }
    size_t mark() const { return next_; }
    /// Gives back what was taken since mark().
    void rewind(size_t mark) { next_ = mark; }

    std::vector<uint32_t> sums; ///< scratch of AreaResampler::row
    std::vector<float> scratch;  ///< of tiles::Variant::convolve
    Convolution::Scratch convolution{nullptr};

private:
    std::vector<std::vector<float>> pieces_; // the k-th take of every pass is about as large, so its memory fits again
    size_t next_ = 0;
};

/// A convolution without padding, stride 1. (A dense layer is one of 1 x 1 over a row of n inputs.)
FeatureMap convolve(const PackedConv& conv, const FeatureMap& in, Workspace& workspace);

/// A max pool without padding whose last windows may stand over the edge ("ceil mode").
FeatureMap maxPool(const FeatureMap& in, int window, int stride, Workspace& workspace);

} // namespace faiss_vision
