#include "vision/face_chip.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/Parallel.h>

#include "vision/area_resampler.h"

namespace faiss_vision {
namespace {

constexpr double kPadding = 0.25; // around the mean face, in widths of it

// Means of dlib's mean face's points 36 to 41 and 42 to 47, and its points 30, 48 and 54.
constexpr double kMeanFace[5][2] = {
    {0.225492, 0.215990}, {0.754761, 0.215990}, {0.490127, 0.515625}, {0.254149, 0.780233}, {0.726104, 0.780233}};

/// The squares of a ChipGrid, in a frame of one black pixel.
class Surroundings {
public:
    Surroundings(const RgbPixels& picture, const ChipGrid& grid) : grid_(grid) {
        const AreaResampler resampler(picture, {grid.left, grid.top, grid.sourceWidth, grid.sourceHeight}, grid.width, grid.height);
        std::vector<float> row(size_t{3} * grid.width + kernels::kSlack);
        std::vector<uint32_t> sums;
        values_.resize(size_t(rowStep()) * (grid.height + 2));
        for (int i = 0; i < grid.height; i++) {
            resampler.row(i, 1, 0, sums, row.data());
            std::copy_n(row.data(), 3 * grid.width, values_.data() + (i + 1) * rowStep() + 3);
        }
    }

    /// The colour at a place in the picture (pixel centres at whole numbers), interpolated.
    void sample(double pictureX, double pictureY, uint8_t* rgb) const {
        // Counted from the frame's corner; outside of the frame it is as black as on it.
        const float x = float(std::clamp((pictureX - grid_.left + 0.5) * grid_.scaleX + 0.5, 0.0, grid_.width + 0.999));
        const float y = float(std::clamp((pictureY - grid_.top + 0.5) * grid_.scaleY + 0.5, 0.0, grid_.height + 0.999));
        const int column = int(x), line = int(y);
        const float right = x - float(column), below = y - float(line);
        const float* upper = values_.data() + line * rowStep() + 3 * column;
        const float* lower = upper + rowStep();
        for (int c = 0; c < 3; c++) {
            const float above = upper[c] + (upper[c + 3] - upper[c]) * right,
                        under = lower[c] + (lower[c + 3] - lower[c]) * right;
            rgb[c] = uint8_t(above + (under - above) * below + 0.5f);
        }
    }

private:
    ptrdiff_t rowStep() const { return ptrdiff_t{3} * (grid_.width + 2); }

    const ChipGrid grid_;
    std::vector<float> values_;
};

} // namespace

Similarity Similarity::fit(const Landmarks& from, const Landmarks& to) {
    double u0 = 0, v0 = 0, x0 = 0, y0 = 0; // the centres
    for (size_t i = 0; i < from.size(); i++) {
        u0 += from[i][0] / double(from.size());
        v0 += from[i][1] / double(from.size());
        x0 += to[i][0] / double(from.size());
        y0 += to[i][1] / double(from.size());
    }
    double along = 0, across = 0, spread = 0;
    for (size_t i = 0; i < from.size(); i++) {
        const double u = from[i][0] - u0, v = from[i][1] - v0, x = to[i][0] - x0, y = to[i][1] - y0;
        along += u * x + v * y;
        across += u * y - v * x;
        spread += u * u + v * v;
    }
    const double a = along / spread, b = across / spread;
    return {a, b, x0 - a * u0 + b * v0, y0 - b * u0 - a * v0};
}

Landmarks meanFace(int size) {
    Landmarks result;
    for (size_t i = 0; i < result.size(); i++) {
        for (size_t c = 0; c < 2; c++) result[i][c] = float((kMeanFace[i][c] + kPadding) / (1 + 2 * kPadding) * size);
    }
    return result;
}

ChipGrid::ChipGrid(int pictureWidth, int pictureHeight, const Similarity& place, int size) {
    const double corners[4][2] = {{0, 0}, {size - 1.0, 0}, {0, size - 1.0}, {size - 1.0, size - 1.0}};
    double low[2] = {1e9, 1e9}, high[2] = {-1e9, -1e9};
    for (const auto& [u, v] : corners) {
        const double at[2] = {place.a * u - place.b * v + place.x0, place.b * u + place.a * v + place.y0};
        for (int i = 0; i < 2; i++) {
            low[i] = std::min(low[i], at[i]);
            high[i] = std::max(high[i], at[i]);
        }
    }
    const int shrink = std::max(1, int(std::lround(std::hypot(place.a, place.b)))); // pixels of the picture in one of the chip
    const int margin = 2 * shrink; // for the neighbours that the interpolation looks at
    const auto inside = [](double value, int least, int size) { return int(std::clamp(value, double(least), double(size - 1))); };
    left = inside(low[0] - margin, 0, pictureWidth), top = inside(low[1] - margin, 0, pictureHeight);
    sourceWidth = inside(high[0] + margin + 1, left, pictureWidth) - left + 1;
    sourceHeight = inside(high[1] + margin + 1, top, pictureHeight) - top + 1;
    width = (sourceWidth + shrink - 1) / shrink;
    height = (sourceHeight + shrink - 1) / shrink;
    scaleX = double(width) / sourceWidth, scaleY = double(height) / sourceHeight;
}

void cutFaceChip(const RgbPixels& picture, const Landmarks& face, int size, uint8_t* chip) {
    const Similarity place = Similarity::fit(meanFace(size), face); // from the chip into the picture
    const Surroundings surroundings(picture, ChipGrid(picture.width(), picture.height(), place, size));
    at::parallel_for(0, size, 32, [&](int64_t begin, int64_t end) {
        for (int64_t v = begin; v < end; v++) {
            for (int u = 0; u < size; u++) {
                surroundings.sample(place.a * u - place.b * double(v) + place.x0, place.b * u + place.a * double(v) + place.y0,
                                    chip + 3 * (v * size + u));
            }
        }
    });
}

} // namespace faiss_vision
