#include <gtest/gtest.h>

#include "vision/image.h"
#include "vision_support.h"

using namespace faiss_vision;
using test::codeOf;

namespace {

std::vector<int> pixel(const RgbPixels& picture, int x, int y) {
    const uint8_t* p = picture.at(x, y);
    return {p[0], p[1], p[2]};
}

} // namespace

TEST(RgbPixels, rgbStaysWhereItIs) {
    const std::vector<uint8_t> bytes(4 * 16);
    const RgbPixels picture(Image{bytes.data(), 5, 4, 3, PixelOrder::RGB, 16});
    EXPECT_EQ(picture.at(0, 0), bytes.data());
    EXPECT_EQ(picture.at(2, 3), bytes.data() + 3 * 16 + 6);
}

TEST(RgbPixels, greyIsRepeated) {
    const std::vector<uint8_t> bytes = {1, 2, 99, 3, 4, 99}; // 99 lies between the rows
    const RgbPixels picture(Image{bytes.data(), 2, 2, 1, PixelOrder::RGB, 3});
    EXPECT_EQ(pixel(picture, 1, 0), (std::vector<int>{2, 2, 2}));
    EXPECT_EQ(pixel(picture, 0, 1), (std::vector<int>{3, 3, 3}));
}

TEST(RgbPixels, bgrIsSwapped) {
    const std::vector<uint8_t> bytes = {1, 2, 3, 4, 5, 6};
    const RgbPixels picture(Image{bytes.data(), 2, 1, 3, PixelOrder::BGR, 6});
    EXPECT_EQ(pixel(picture, 0, 0), (std::vector<int>{3, 2, 1}));
    EXPECT_EQ(pixel(picture, 1, 0), (std::vector<int>{6, 5, 4}));
}

TEST(RgbPixels, alphaLiesOverWhite) {
    const std::vector<uint8_t> bytes = {10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 200, 128};
    const RgbPixels rgba(Image{bytes.data(), 3, 1, 4, PixelOrder::RGB, 12});
    EXPECT_EQ(pixel(rgba, 0, 0), (std::vector<int>{10, 20, 30}));
    EXPECT_EQ(pixel(rgba, 1, 0), (std::vector<int>{255, 255, 255}));
    EXPECT_EQ(pixel(rgba, 2, 0), (std::vector<int>{127, 177, 227})); // 255 + (c - 255) * 128 / 255, rounded
    const RgbPixels bgra(Image{bytes.data(), 3, 1, 4, PixelOrder::BGR, 12});
    EXPECT_EQ(pixel(bgra, 0, 0), (std::vector<int>{30, 20, 10}));
}

TEST(RgbPixels, impossibleImagesAreRefused) {
    const std::vector<uint8_t> bytes(48);
    const auto open = [&](Image image) { return codeOf([&] { RgbPixels picture(image); }); };
    EXPECT_EQ(open({bytes.data(), 4, 4, 3, PixelOrder::RGB, 12}), "");
    EXPECT_EQ(open({bytes.data(), 0, 4, 3, PixelOrder::RGB, 12}), "ERR_INVALID_ARGUMENT");
    EXPECT_EQ(open({bytes.data(), 4, -1, 3, PixelOrder::RGB, 12}), "ERR_INVALID_ARGUMENT");
    EXPECT_EQ(open({bytes.data(), 4, 4, 2, PixelOrder::RGB, 12}), "ERR_INVALID_ARGUMENT");
    EXPECT_EQ(open({bytes.data(), 4, 4, 3, PixelOrder::RGB, 11}), "ERR_INVALID_ARGUMENT");
    EXPECT_EQ(open({nullptr, 4, 4, 3, PixelOrder::RGB, 12}), "ERR_INVALID_ARGUMENT");
}

TEST(RgbPixels, theLimitIsNamed) {
    const uint8_t byte = 0; // the size is judged before a pixel is read
    std::string message;
    EXPECT_EQ(codeOf([&] { RgbPixels picture(Image{&byte, 8193, 8192, 3, PixelOrder::RGB, 3 * 8193}); }, &message),
              "ERR_IMAGE_TOO_LARGE");
    EXPECT_NE(message.find("8193 x 8192"), std::string::npos) << message;
    EXPECT_NE(message.find("67108864"), std::string::npos) << message;
    EXPECT_EQ(codeOf([&] { RgbPixels picture(Image{&byte, 8192, 8192, 3, PixelOrder::RGB, 3 * 8192}); }), "");
    EXPECT_EQ(codeOf([&] { RgbPixels picture(Image{&byte, INT32_MAX, INT32_MAX, 4, PixelOrder::RGB, SIZE_MAX}); }),
              "ERR_IMAGE_TOO_LARGE");
}
