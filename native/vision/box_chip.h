#pragma once

#include <cstdint>

#include "vision/boxes.h"
#include "vision/image.h"

namespace faiss_vision {

/// Cuts a box out as facenet-pytorch's extract_face does: widened by `margin` pixels of the chip, cut at the picture's edges, and
/// scaled as Pillow scales with BILINEAR, to the last bit: a triangle as wide as the scale, columns before rows, in whole numbers.
/// @param chip  size x size x 3 bytes, RGB
void cutBoxChip(const RgbPixels& picture, const Box& box, int size, int margin, uint8_t* chip);

} // namespace faiss_vision
