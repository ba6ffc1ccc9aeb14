#include <gtest/gtest.h>

#include "vision/face_chip.h"
#include "vision_support.h"

using namespace faiss_vision;

namespace {

constexpr int kSize = 150;

Landmarks placed(const Similarity& place) {
    Landmarks points = meanFace(kSize);
    for (auto& [x, y] : points) {
        const double u = x, v = y;
        x = float(place.a * u - place.b * v + place.x0);
        y = float(place.b * u + place.a * v + place.y0);
    }
    return points;
}

/// A picture whose colours change evenly, so that every colour tells where it was.
std::vector<uint8_t> gradient(int width, int height) {
    std::vector<uint8_t> pixels(size_t(width) * height * 3);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            uint8_t* to = &pixels[size_t(y * width + x) * 3];
            to[0] = uint8_t(std::lround(255.0 * x / (width - 1)));
            to[1] = uint8_t(std::lround(255.0 * y / (height - 1)));
            to[2] = 90;
        }
    }
    return pixels;
}

std::vector<uint8_t> cut(const std::vector<uint8_t>& pixels, int width, int height, const Landmarks& face) {
    std::vector<uint8_t> chip(size_t{3} * kSize * kSize);
    cutFaceChip(RgbPixels(test::rgb(pixels, width, height)), face, kSize, chip.data());
    return chip;
}

} // namespace

TEST(Similarity, isFoundAgain) {
    const Similarity place{1.7, -0.4, 200, 31};
    const Similarity found = Similarity::fit(meanFace(kSize), placed(place));
    EXPECT_NEAR(found.a, place.a, 1e-5);
    EXPECT_NEAR(found.b, place.b, 1e-5);
    EXPECT_NEAR(found.x0, place.x0, 1e-3);
    EXPECT_NEAR(found.y0, place.y0, 1e-3);
}

TEST(MeanFace, standsUprightInTheMiddle) {
    const Landmarks face = meanFace(kSize);
    EXPECT_FLOAT_EQ(face[0][1], face[1][1]);
    EXPECT_FLOAT_EQ(face[3][1], face[4][1]);
    EXPECT_NEAR((face[0][0] + face[1][0]) / 2, kSize / 2, 2);
    EXPECT_NEAR(face[1][0] - face[0][0], 53, 1); // dlib's chips: eyes about a third of the chip apart
}

TEST(FaceChip, showsThePlaceTurnedAndScaled) {
    const int width = 1200, height = 900;
    const std::vector<uint8_t> pixels = gradient(width, height);
    for (const Similarity& place :
         {Similarity{1, 0, 400, 300}, {0.4, 0.1, 500, 400}, {2.6, 0, 350, 300}, {1.5, 1.5, 600, 200}, {-1, 0, 700, 600}}) {
        const std::vector<uint8_t> chip = cut(pixels, width, height, placed(place));
        for (int v = 0; v < kSize; v += 7) {
            for (int u = 0; u < kSize; u += 7) {
                const double x = place.a * u - place.b * v + place.x0, y = place.b * u + place.a * v + place.y0;
                const uint8_t* found = &chip[size_t(v * kSize + u) * 3];
                EXPECT_NEAR(found[0], 255 * x / (width - 1), 1.5) << u << " " << v;
                EXPECT_NEAR(found[1], 255 * y / (height - 1), 1.5) << u << " " << v;
                EXPECT_EQ(found[2], 90);
            }
        }
    }
}

TEST(FaceChip, aCopyOfThePictureWhereNothingMoves) {
    const std::vector<uint8_t> pixels = test::noise("copy", kSize, kSize);
    EXPECT_EQ(cut(pixels, kSize, kSize, meanFace(kSize)), pixels);
}

TEST(FaceChip, averagesWhereTheFaceIsLarger) {
    // A board of single black and white pixels: seen from afar it is grey, without stripes.
    const int size = 1600;
    std::vector<uint8_t> board(size_t{size} * size * 3);
    for (int y = 0; y < size; y++) {
        for (int x = 0; x < size; x++) std::fill_n(&board[size_t(y * size + x) * 3], 3, uint8_t((x + y) % 2 ? 255 : 0));
    }
    for (const double scale : {4.0, 5.3, 10.0}) {
        const std::vector<uint8_t> chip = cut(board, size, size, placed({scale, 0, 20, 20}));
        for (const uint8_t value : chip) EXPECT_NEAR(value, 127.5, 12);
    }
}

TEST(FaceChip, isBlackBeyondThePicture) {
    const std::vector<uint8_t> white(size_t{300} * 200 * 3, 255);
    const std::vector<uint8_t> chip = cut(white, 300, 200, placed({1, 0, -50, 100}));
    for (int v = 0; v < kSize; v++) {
        for (int u = 0; u < kSize; u++) EXPECT_EQ(chip[size_t(v * kSize + u) * 3], u >= 50 && v < 100 ? 255 : 0) << u << " " << v;
    }
    const std::vector<uint8_t> nothing(chip.size());
    EXPECT_EQ(cut(white, 300, 200, placed({1, 0, 5000, 5000})), nothing);
    EXPECT_EQ(cut(white, 300, 200, placed({1, 0, -5000, -5000})), nothing);
    cut(white, 300, 200, placed({3000, 1000, -90000, 10}));
    cut(white, 1, 1, placed({3, 1, -9, -10}));
    cut(white, 300, 200, Landmarks{}); // all in one place
}
