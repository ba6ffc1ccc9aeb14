#pragma once

#include <vector>

#include "vision/image.h"
#include "vision/kernels.h"

namespace faiss_vision {

/// Scales a rectangle of a picture by averaging: output pixel i covers the source pixels from floor(i * in / out) to
/// ceil((i + 1) * in / out), as "area" interpolation and adaptive average pooling define it. Works both ways.
class AreaResampler {
public:
    struct Rectangle {
        int x, y, width, height;
    };
    /// The rectangle lies inside the picture, which outlives this object.
    AreaResampler(const RgbPixels& picture, Rectangle source, int width, int height);

    int width() const { return int(columns_.size()); }
    int height() const { return height_; }

    /// Row y of the result: 3 * width floats, scale * mean + offset, written to `out`, which has kernels::kSlack floats more.
    /// @param sums  scratch that grows when needed
    void row(int y, float scale, float offset, std::vector<uint32_t>& sums, float* out) const;

private:
    const RgbPixels& picture_;
    Rectangle source_;
    int height_;
    int narrow_; // columns in the narrowest window; the widest has at most one more
    std::vector<kernels::Column> columns_;
};

} // namespace faiss_vision
