#include <cstdio>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "vision/convolution.h"
#include "vision/facenet.h"
#include "vision/fcrn.h"
#include "vision_golden.h"

using namespace faiss_vision;
using test::readFloats;
using test::readJson;
using test::SeededFile;
using test::Stages;

namespace {

struct Way {
    std::string name;
    Precision precision;
    const products::Variant* variant;
};

std::vector<Way> ways() {
    std::vector<Way> result = {{"vectors", Precision::Fp32, nullptr}};
    for (const products::Variant& variant : products::variants()) {
        if (variant.splits) result.push_back({std::string(variant.name) + "_fp32", Precision::Fp32, &variant});
        result.push_back({std::string(variant.name) + "_bf16", Precision::Bf16, &variant});
    }
    return result;
}

at::Tensor random(const std::string& name, at::IntArrayRef shape) {
    const at::Tensor values = at::empty(shape);
    const std::vector<float> numbers = test::seeded(name, size_t(values.numel()));
    std::copy(numbers.begin(), numbers.end(), values.data_ptr<float>());
    return values * 2 - 1;
}

} // namespace

class Convolutions : public testing::TestWithParam<Way> {};

TEST_P(Convolutions, areTorchs) {
    struct Shape {
        int in, out, height, width, stride, top, left, bottom, right, mapHeight, mapWidth, count;
    };
    for (const Shape s : {Shape{3, 32, 3, 3, 2, 0, 0, 0, 0, 13, 17, 2}, Shape{32, 64, 3, 3, 1, 1, 1, 1, 1, 9, 11, 1}, Shape{64, 80, 1, 1, 1, 0, 0, 0, 0, 8, 8, 3},
                          Shape{80, 33, 3, 3, 2, 0, 0, 0, 0, 9, 9, 1}, Shape{96, 1, 3, 3, 1, 1, 1, 1, 1, 7, 9, 1}, Shape{3, 64, 7, 7, 2, 3, 3, 3, 3, 20, 24, 1},
                          Shape{128, 128, 1, 7, 1, 0, 3, 0, 3, 8, 8, 5}, Shape{128, 128, 7, 1, 1, 3, 0, 3, 0, 8, 8, 5}, Shape{64, 96, 2, 3, 1, 1, 1, 0, 1, 8, 10, 1},
                          Shape{64, 96, 3, 2, 1, 1, 1, 1, 0, 8, 10, 1}, Shape{64, 96, 2, 2, 1, 1, 1, 0, 0, 8, 10, 1}, Shape{1024, 640, 3, 3, 1, 1, 1, 1, 1, 8, 20, 1},
                          Shape{10, 37, 3, 3, 1, 0, 0, 0, 0, 8, 7, 2}, Shape{192, 192, 3, 3, 1, 1, 1, 1, 1, 17, 17, 2}, Shape{1792, 512, 1, 1, 1, 0, 0, 0, 0, 1, 1, 3}}) {
        SCOPED_TRACE(testing::Message() << s.in << " to " << s.out << ", " << s.height << " x " << s.width);
        const at::Tensor input = random("input", {s.count, s.in, s.mapHeight, s.mapWidth}), weight = random("weight", {s.out, s.in, s.height, s.width});
        const at::Tensor bias = random("bias", {s.out}), scale = random("scale", {s.out}), offset = random("offset", {s.out}), slope = random("slope", {s.out});
        const at::Tensor whole = at::constant_pad_nd(input, {s.left, s.right, s.top, s.bottom}).to(at::kDouble);
        at::Tensor expected = at::conv2d(whole, weight.to(at::kDouble), bias.to(at::kDouble), s.stride);
        const at::Tensor spread = at::conv2d(whole.abs(), weight.to(at::kDouble).abs(), {}, s.stride).mul(scale.abs().view({1, s.out, 1, 1}));
        const int height = int(expected.size(2)), width = int(expected.size(3));
        const at::Tensor add = random("add", {s.count, s.out, height, width});
        expected = expected.mul(scale.view({1, s.out, 1, 1})).add(offset.view({1, s.out, 1, 1})).add(add);
        expected = at::prelu(expected, slope.to(at::kDouble)).permute({0, 2, 3, 1}).contiguous();
        const at::Tensor room = spread.permute({0, 2, 3, 1}).contiguous();

        const Convolution conv(weight, bias, {scale, offset}, slope, {s.stride, s.top, s.left}, GetParam().precision, GetParam().variant);
        MapsMemory memory;
        // A slice of wider maps on either side.
        const MapsView wideIn = memory.take(s.count, s.mapHeight, s.mapWidth, s.in + 5), wideOut = memory.take(s.count, height, width, s.out + 7);
        const MapsView in = wideIn.slice(5, s.in), out = wideOut.slice(3, s.out);
        const at::Tensor last = input.permute({0, 2, 3, 1}).contiguous(), addLast = add.permute({0, 2, 3, 1}).contiguous();
        std::fill_n(wideIn.data, wideIn.count * wideIn.mapStep, NAN);
        std::fill_n(wideOut.data, wideOut.count * wideOut.mapStep, 1234.0f);
        for (int64_t p = 0; p < int64_t{s.count} * s.mapHeight * s.mapWidth; p++) std::copy_n(last.data_ptr<float>() + p * s.in, s.in, in.data + p * in.step);
        for (int64_t p = 0; p < int64_t{s.count} * height * width; p++) std::copy_n(addLast.data_ptr<float>() + p * s.out, s.out, out.data + p * out.step);
        Steps::walk(1, [&](Steps::Walk& walk) {
            Convolution::Scratch scratch(GetParam().variant);
            conv.run(in, out, &out, walk, scratch);
        });
        // Of the sum of sizes: bf16 loses 2^-9 of each number, what fp32 is put together of 2^-17.
        const double tolerance = GetParam().precision == Precision::Bf16 ? 8e-3 : 1e-5;
        double worst = 0;
        for (int64_t p = 0; p < int64_t{s.count} * height * width; p++) {
            for (int c = 0; c < s.out; c++) {
                const double error = std::abs(out.data[p * out.step + c] - expected.data_ptr<double>()[p * s.out + c]) / (room.data_ptr<double>()[p * s.out + c] + 1);
                if (!(error <= worst)) worst = error;
            }
            for (int c = -3; c < 0; c++) EXPECT_EQ(out.data[p * out.step + c], 1234.0f);
            for (int c = s.out; c < s.out + 4; c++) EXPECT_EQ(out.data[p * out.step + c], 1234.0f);
        }
        EXPECT_LE(worst, tolerance);
    }
}

INSTANTIATE_TEST_SUITE_P(Ways, Convolutions, testing::ValuesIn(ways()), [](const auto& info) { return info.param.name; });

TEST(Products, roundToTheNearest) {
    EXPECT_EQ(products::toBf16(1.0f), 0x3f80);
    EXPECT_EQ(products::toBf16(1.00390625f), 0x3f80); // the middle of two: to the even one
    EXPECT_EQ(products::toBf16(1.01171875f), 0x3f82);
    EXPECT_TRUE(std::isnan(products::fromBf16(products::toBf16(NAN))));
    EXPECT_EQ(products::fromBf16(products::toBf16(-INFINITY)), -INFINITY);
    for (const float value : test::seeded("numbers", 1000)) EXPECT_NEAR(products::fromBf16(products::toBf16(value)), value, value / 256);
}

TEST(FaceNet, isTheReferences) {
    const nlohmann::json reference = readJson(test::golden("facenet/facenet.json"));
    const SeededFile file(reference["variables"], "facenet");
    FaceNet net(Safetensors(file.path()), Precision::Fp32);
    std::vector<uint8_t> chips;
    std::vector<float> expected;
    for (const char* const name : {"face-a", "face-b", "face-c"}) {
        const std::vector<uint8_t> chip = test::noise(name, 160, 160);
        chips.insert(chips.end(), chip.begin(), chip.end());
        const std::vector<float> embedding = readFloats(test::golden(std::string("facenet/") + name + ".embedding.f32"));
        Stages stages(reference["stages"][name], true);
        std::vector<float> features(512);
        net.forward(chip.data(), 1, features.data(), stages.observer());
        EXPECT_EQ(stages.seen(), 15u);
        for (size_t i = 0; i < 512; i++) EXPECT_NEAR(features[i], embedding[i], 1e-5) << name << " " << i;
        expected.insert(expected.end(), embedding.begin(), embedding.end());
    }
    // All at once, and more than fit into one batch.
    std::vector<uint8_t> many;
    for (int i = 0; i < 11; i++) many.insert(many.end(), chips.begin(), chips.end());
    std::vector<float> features(33 * 512);
    net.forward(many.data(), 33, features.data());
    double worst = 0;
    for (size_t i = 0; i < features.size(); i++) worst = std::max(worst, std::abs(double(features[i]) - expected[i % expected.size()]));
    EXPECT_LT(worst, 1e-5);
    std::printf("FaceNet in fp32: %.2g from the reference at most\n", worst);

    if (products::variants().empty()) GTEST_SKIP() << "bf16: this processor has no units for it";
    FaceNet coarse(Safetensors(file.path()), Precision::Bf16);
    coarse.forward(chips.data(), 3, features.data());
    for (int i = 0; i < 3; i++) {
        double product = 0;
        for (size_t j = 0; j < 512; j++) product += double(features[size_t(i) * 512 + j]) * expected[size_t(i) * 512 + j];
        std::printf("FaceNet in bf16: cosine %.6f to the reference\n", product);
        EXPECT_GT(product, 1 - 1e-3);
    }
}

TEST(Fcrn, isTheReferences) {
    const nlohmann::json reference = readJson(test::golden("fcrn/fcrn.json"));
    const SeededFile file(reference["variables"], "fcrn");
    Fcrn net(Safetensors(file.path()), Precision::Fp32);
    for (const char* const name : {"fcrn-a", "fcrn-b"}) {
        const std::vector<uint8_t> pixels = test::noise(name, 228, 304);
        const std::vector<float> picture(pixels.begin(), pixels.end());
        const std::vector<float> expected = readFloats(test::golden(std::string("fcrn/") + name + ".depth.f32"));
        Stages stages(reference["stages"][name], false);
        std::vector<float> depth(128 * 160);
        net.forward(picture.data(), 1, depth.data(), stages.observer());
        EXPECT_EQ(stages.seen(), reference["stages"][name].size());
        double error = 0, size = 0, worst = 0, largest = 0;
        for (size_t i = 0; i < depth.size(); i++) {
            error += std::pow(depth[i] - expected[i], 2), size += std::pow(expected[i], 2);
            worst = std::max(worst, std::abs(double(depth[i]) - expected[i])), largest = std::max(largest, double(expected[i]));
        }
        std::printf("FCRN in fp32: relative error %.2g, %.2g of the largest at most\n", std::sqrt(error / size), worst / largest);
        EXPECT_LT(std::sqrt(error / size), 1e-4);
        EXPECT_LT(worst / largest, 1e-4);
    }
}
