#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vision/boxes.h"
#include "vision/image.h"

namespace faiss_vision {

/// The pixels of a picture that a box chip is made of: at least one.
struct BoxCut {
    int left, top, width, height;

    BoxCut(int pictureWidth, int pictureHeight, const Box& box, int size, int margin);
};

/// Which inputs each output of a scaled side is a sum of, and how much of each, as Pillow's BILINEAR has it, in whole numbers.
class BoxWeights {
public:
    static constexpr int kBits = 22; ///< of the weights' fractions: what 32 bits leave beside 8 of a pixel and 2 for overshoot

    BoxWeights(int in, int out);

    struct Span {
        int begin, end;
        size_t weights;
    };
    const Span& span(int out) const { return spans_[size_t(out)]; }
    const int* of(const Span& span) const { return numbers_.data() + span.weights; }

private:
    std::vector<Span> spans_;
    std::vector<int> numbers_;
};

/// Cuts a box out as facenet-pytorch's extract_face does: widened by `margin` pixels of the chip, cut at the picture's edges, and
/// scaled as Pillow 12 scales with BILINEAR, to the last bit: a triangle as wide as the scale, columns before rows, in whole numbers.
/// @param chip  size x size x 3 bytes, RGB
void cutBoxChip(const RgbPixels& picture, const Box& box, int size, int margin, uint8_t* chip);

} // namespace faiss_vision
