#pragma once

#include <cmath>
#include <cstdint>

#include "vision/cutting.h"

namespace faiss_vision {

/// PNet's first layer with what is in front of it and behind it: pixels made -1 to 1, a convolution of 3 x 3, PReLU, and the maximum
/// over 2 x 2 places, where the last row and the last column of an odd map stand alone. It goes to a kernel by value.
struct FirstLayer {
    static constexpr int kMaps = 10, kTaps = 3 * 3 * 3; ///< taps row by row, colours side by side

    float weights[kMaps][kTaps], bias[kMaps], slopes[kMaps];

    static FAISS_VISION_ANYWHERE float input(float pixel) { return pixel * (1 / 128.0f) - 127.5f / 128; }
    /// Of a level, by the level's columns or rows.
    static FAISS_VISION_ANYWHERE int64_t places(int64_t length) { return (length - 1) / 2; }

    /// All maps at one place.
    /// @param right, below  whether there is a second column, a second row of the map
    /// @param inputs  a row's number at [y * step + 3 * x + colour], from the place's corner: 4 x 4, or 3 where there is no second
    FAISS_VISION_ANYWHERE void at(const float* inputs, int step, bool right, bool below, float* maps) const {
        float square[4][12];
        for (int y = 0; y < 4; y++) {
            for (int x = 0; x < 12; x++) square[y][x] = (x < 9 || right) && (y < 3 || below) ? inputs[y * step + x] : 0;
        }
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
        for (int map = 0; map < kMaps; map++) {
            float sums[2][2] = {};
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
            for (int tap = 0; tap < kTaps; tap++) {
                const int y = tap / 9, x = tap % 9;
                sums[0][0] = fmaf(square[y][x], weights[map][tap], sums[0][0]);
                sums[0][1] = fmaf(square[y][x + 3], weights[map][tap], sums[0][1]);
                sums[1][0] = fmaf(square[y + 1][x], weights[map][tap], sums[1][0]);
                sums[1][1] = fmaf(square[y + 1][x + 3], weights[map][tap], sums[1][1]);
            }
            const auto activated = [&](float sum) { return (sum += bias[map]) > 0 ? sum : sum * slopes[map]; };
            float most = activated(sums[0][0]);
            if (right) most = fmaxf(most, activated(sums[0][1]));
            if (below) most = fmaxf(most, activated(sums[1][0]));
            if (right && below) most = fmaxf(most, activated(sums[1][1]));
            maps[map] = most;
        }
    }
};

} // namespace faiss_vision
