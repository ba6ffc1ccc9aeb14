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

/// One of its pixels, to the bit what DevicePictures computes by torch's operations: what a thread of a GPU does.
FAISS_VISION_ANYWHERE inline void cutPixel(const int32_t* sums, const Cut& cut, int64_t column, int64_t row, float* pixel) {
    const int64_t top = row * cut.height / cut.rows, bottom = ((row + 1) * cut.height + cut.rows - 1) / cut.rows;
    const int64_t left = column * cut.width / cut.columns, right = ((column + 1) * cut.width + cut.columns - 1) / cut.columns;
    const float weight = (1.0f / float(right - left)) * (1.0f / float(bottom - top));
    const int32_t* const above = sums + 3 * (cut.corner + top * cut.step);
    const int32_t* const below = sums + 3 * (cut.corner + bottom * cut.step);
    for (int64_t c = 0; c < 3; c++) {
        // Without signs, as the sums of the largest pictures run over.
        const uint32_t toRight = uint32_t(below[3 * right + c]) - uint32_t(above[3 * right + c]);
        const uint32_t sum = toRight - (uint32_t(below[3 * left + c]) - uint32_t(above[3 * left + c]));
        pixel[c] = float(int32_t(sum)) * weight;
    }
}

/// The i-th, row by row, in its place on the canvas.
FAISS_VISION_ANYWHERE inline void cutOnto(float* canvas, int64_t canvasWidth, const int32_t* sums, const Cut& cut, int64_t i) {
    const int64_t row = i / cut.columns, column = i - row * cut.columns;
    cutPixel(sums, cut, column, row, canvas + 3 * (cut.to + row * canvasWidth + column));
}

/// A face's chip: where the chip lies in the picture, and the grid of averaged squares that it is interpolated from
/// (vision/face_chip.h's Similarity and ChipGrid). Goes up to the device as it is.
struct ChipCut {
    double a, b, x0, y0, left, top, scaleX, scaleY;
    int64_t corner, step, sourceWidth, sourceHeight, width, height; ///< first place in the sums and places to the next row; squares
};

/// The i-th pixel of a chip of size x size, row by row. Compiled without fused multiplication and addition, to the bit as cutPixel is.
FAISS_VISION_ANYWHERE inline void chipPixel(const int32_t* sums, const ChipCut& cut, int64_t i, int size, float* chip) {
    const double u = double(i % size), v = double(i / size);
    // As Surroundings::sample counts: squares from 1 on, inside a frame of black ones.
    const auto inGrid = [](double picture, double corner, double scale, int64_t squares) {
        const double place = (picture - corner + 0.5) * scale + 0.5, most = double(squares) + 0.999;
        return float(place < 0 ? 0 : place > most ? most : place);
    };
    const float x = inGrid(cut.a * u - cut.b * v + cut.x0, cut.left, cut.scaleX, cut.width);
    const float y = inGrid(cut.b * u + cut.a * v + cut.y0, cut.top, cut.scaleY, cut.height);
    const int64_t column = int64_t(x), row = int64_t(y);
    const float right = x - float(column), below = y - float(row);
    float squares[2][2][3]; // from the row and the column of the place on
    for (int64_t down = 0; down < 2; down++) {
        for (int64_t across = 0; across < 2; across++) {
            const int64_t squareX = column + across - 1, squareY = row + down - 1;
            float* const square = squares[down][across];
            square[0] = square[1] = square[2] = 0;
            if (squareX < 0 || squareX >= cut.width || squareY < 0 || squareY >= cut.height) continue;
            const Cut grid{cut.corner, cut.step, cut.sourceWidth, cut.sourceHeight, cut.width, cut.height, 0};
            cutPixel(sums, grid, squareX, squareY, square);
        }
    }
    for (int c = 0; c < 3; c++) {
        const auto between = [](float from, float to, float share) { return (to - from) * share + from; };
        const float above = between(squares[0][0][c], squares[0][1][c], right), under = between(squares[1][0][c], squares[1][1][c], right);
        const float value = between(above, under, below) + 0.5f;
        chip[3 * i + c] = float(int64_t(value)); // none is negative
    }
}

} // namespace faiss_vision
