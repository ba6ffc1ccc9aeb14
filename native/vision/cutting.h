#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define FAISS_VISION_ANYWHERE __host__ __device__
#else
#define FAISS_VISION_ANYWHERE
#endif

namespace faiss_vision {

/// A rectangle of a picture averaged to columns x rows numbers x 3, as AreaResampler scales, on a wider canvas.
/// Nothing but whole numbers, as it goes up to the device as it is.
struct Cut {
    int64_t corner, step;  ///< the rectangle's first place in the sums of DevicePictures, and places from one row to the next
    int64_t width, height; ///< of the rectangle
    int64_t columns, rows;
    int64_t to; ///< pixel of the canvas
};

/// Its i-th pixel, row by row, to the bit what DevicePictures computes by torch's operations: what a thread of a GPU does.
FAISS_VISION_ANYWHERE inline void cutPixel(const int32_t* sums, const Cut& cut, int64_t i, int64_t canvasWidth, float* canvas) {
    const int64_t row = i / cut.columns, column = i - row * cut.columns;
    const int64_t top = row * cut.height / cut.rows, bottom = ((row + 1) * cut.height + cut.rows - 1) / cut.rows;
    const int64_t left = column * cut.width / cut.columns, right = ((column + 1) * cut.width + cut.columns - 1) / cut.columns;
    const float weight = (1.0f / float(right - left)) * (1.0f / float(bottom - top));
    const int32_t* const above = sums + 3 * (cut.corner + top * cut.step);
    const int32_t* const below = sums + 3 * (cut.corner + bottom * cut.step);
    float* const pixel = canvas + 3 * (cut.to + row * canvasWidth + column);
    for (int64_t c = 0; c < 3; c++) {
        // Without signs, as the sums of the largest pictures run over.
        const uint32_t sum = uint32_t(below[3 * right + c]) - uint32_t(above[3 * right + c]) - uint32_t(below[3 * left + c]) + uint32_t(above[3 * left + c]);
        pixel[c] = float(int32_t(sum)) * weight;
    }
}

} // namespace faiss_vision
