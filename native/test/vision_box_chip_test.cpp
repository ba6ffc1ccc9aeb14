#include <gtest/gtest.h>

#include "vision/box_chip.h"
#include "vision_support.h"

using namespace faiss_vision;

namespace {

/// CRC-32 as zlib computes it.
uint32_t crc32(const std::vector<uint8_t>& bytes) {
    uint32_t crc = 0xFFFFFFFF;
    for (const uint8_t byte : bytes) {
        crc ^= byte;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    }
    return ~crc;
}

} // namespace

/// What facenet-pytorch's extract_face does with Pillow 12 to the seeded picture "chip-source", 300 x 400:
/// image.crop(box).resize((160, 160), Image.BILINEAR), as zlib.crc32 of the bytes and the pixel of row 80, column 40.
TEST(BoxChip, isPillows) {
    const std::vector<uint8_t> pixels = test::noise("chip-source", 300, 400);
    const RgbPixels picture(test::rgb(pixels, 400, 300));
    struct Case {
        Box box;
        int margin;
        uint32_t crc;
        uint8_t pixel[3];
    };
    for (const Case& one : {Case{{10.3f, 20.7f, 350.2f, 280.9f, 1}, 0, 0x85f41e72, {77, 135, 164}}, Case{{100.5f, 90.25f, 180.75f, 190.5f, 1}, 0, 0x12e27f5f, {67, 151, 109}},
                            Case{{-20.5f, -10.5f, 120.2f, 140.9f, 1}, 14, 0x0d051a1c, {113, 120, 211}}, Case{{300.1f, 200.2f, 420.7f, 330.3f, 1}, 40, 0xd9524efe, {188, 221, 193}},
                            Case{{50, 60, 90.5f, 100.5f, 1}, 0, 0x0c0cb620, {100, 96, 135}}}) {
        std::vector<uint8_t> chip(160 * 160 * 3);
        cutBoxChip(picture, one.box, 160, one.margin, chip.data());
        for (size_t c = 0; c < 3; c++) EXPECT_EQ(chip[(80 * 160 + 40) * 3 + c], one.pixel[c]);
        EXPECT_EQ(crc32(chip), one.crc);
    }
}

TEST(BoxChip, aBoxBesideThePictureIsItsEdge) {
    const std::vector<uint8_t> pixels = test::noise("chip-source", 20, 30);
    const RgbPixels picture(test::rgb(pixels, 30, 20));
    for (const Box& box : {Box{-50, -40, -10, -5, 1}, Box{40, 30, 60, 50, 1}, Box{5, 5, 5, 5, 1}, Box{-1e9f, -1e9f, 1e9f, 1e9f, 1}}) {
        std::vector<uint8_t> chip(160 * 160 * 3);
        cutBoxChip(picture, box, 160, 0, chip.data());
    }
}
