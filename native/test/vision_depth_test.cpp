#include <utility>

#include <gtest/gtest.h>

#include "vision/depth_estimation.h"
#include "vision_support.h"

using namespace faiss_vision;

namespace {

std::vector<float> scaled(const std::vector<uint8_t>& pixels, int width, int height) {
    std::vector<float> result;
    DepthEstimation::scale(test::rgb(pixels, width, height), result);
    return result;
}

/// A grey slope from left to right, or from top to bottom.
std::vector<uint8_t> slope(int width, int height, bool across) {
    std::vector<uint8_t> pixels;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) pixels.insert(pixels.end(), 3, uint8_t(across ? 2 * x : 2 * y));
    }
    return pixels;
}

constexpr size_t kNumbers = size_t{3} * Fcrn::kInWidth * Fcrn::kInHeight;

float pixel(const std::vector<float>& picture, int x, int y) { return picture[size_t(3 * (Fcrn::kInWidth * y + x))]; }

} // namespace

TEST(DepthScale, leavesAPictureOfTheNetworksSizeAsItIs) {
    const std::vector<uint8_t> pixels = test::noise("depth", 228, 304);
    EXPECT_EQ(scaled(pixels, 304, 228), std::vector<float>(pixels.begin(), pixels.end()));
}

TEST(DepthScale, aCamerasOrderGivesTheSamePicture) {
    for (const auto& [width, height] : {std::pair{640, 480}, {304, 228}, {77, 600}, {1, 1}}) {
        const std::vector<uint8_t> pixels = test::noise("order", height, width);
        std::vector<uint8_t> reversed(pixels);
        for (size_t i = 0; i < reversed.size(); i += 3) std::swap(reversed[i], reversed[i + 2]);
        Image camera = test::rgb(reversed, width, height);
        camera.order = PixelOrder::BGR;
        std::vector<float> result;
        DepthEstimation::scale(camera, result);
        EXPECT_EQ(result, scaled(pixels, width, height)) << width << " x " << height;
    }
}

TEST(DepthScale, averagesWhatShrinks) {
    const std::vector<uint8_t> pixels = test::noise("depth", 456, 608);
    const std::vector<float> result = scaled(pixels, 608, 456);
    ASSERT_EQ(result.size(), kNumbers);
    for (int y = 0; y < 228; y++) {
        for (int x = 0; x < 304; x++) {
            for (int c = 0; c < 3; c++) {
                const auto corner = [&](int dx, int dy) { return float(pixels[size_t(3 * (608 * (2 * y + dy) + 2 * x + dx) + c)]); };
                ASSERT_NEAR(result[size_t(3 * (304 * y + x) + c)], (corner(0, 0) + corner(1, 0) + corner(0, 1) + corner(1, 1)) / 4, 1e-3);
            }
        }
    }
}

TEST(DepthScale, interpolatesWhatGrows) {
    // Four columns for one: centres lie at 1/8, 3/8, ... and the slope of 2 a pixel is one of 1/2.
    const std::vector<float> across = scaled(slope(76, 228, true), 76, 228), down = scaled(slope(304, 57, false), 304, 57);
    for (int i = 2; i < 226; i++) {
        ASSERT_NEAR(pixel(across, i, 100), (i - 1.5f) / 2, 1e-3);
        ASSERT_NEAR(pixel(down, 100, i), (i - 1.5f) / 2, 1e-3);
    }
    for (const int edge : {0, 1}) EXPECT_EQ(pixel(across, edge, 0), 0); // nothing lies beyond the first centre
    for (const int edge : {302, 303}) EXPECT_EQ(pixel(across, edge, 0), 150);
}

TEST(DepthScale, mixesBoth) {
    // Twice as wide as it needs to be and half as high.
    const std::vector<uint8_t> pixels = slope(608, 114, false);
    const std::vector<float> result = scaled(pixels, 608, 114);
    ASSERT_EQ(result.size(), kNumbers);
    for (int y = 1; y < 227; y++) ASSERT_NEAR(pixel(result, 77, y), y - 0.5f, 1e-3);
}

TEST(DepthScale, takesOnePixel) {
    EXPECT_EQ(scaled({7, 7, 7}, 1, 1), std::vector<float>(kNumbers, 7.0f));
}
