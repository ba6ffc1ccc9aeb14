#include <cstdio>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "vision/device_facenet.h"
#include "vision/device_fcrn.h"
#include "vision/device_resnet128.h"
#include "vision/facenet.h"
#include "vision/resnet128.h"
#include "vision_golden.h"

// The networks in torch's own operations, here on its CPU; on a GPU the same code runs with another at::Device.

using namespace faiss_vision;
using test::readFloats;
using test::readJson;
using test::SeededFile;
using test::Stages;

namespace {

struct Way {
    const char* name;
    at::ScalarType type;
    double faceNet, resnet128, fcrn; // bounds: distances, where 1.11 and 0.6 tell people apart; relative error
};

/// fp16 where this libtorch has it for its CPU.
std::vector<Way> ways() {
    std::vector<Way> result = {{"fp64", at::kDouble, 1e-5, 1e-4, 1e-4}, {"fp32", at::kFloat, 1e-5, 1e-4, 1e-4}, {"bf16", at::kBFloat16, 2e-2, 3e-2, 3e-2}};
    try {
        at::conv2d(at::ones({1, 3, 8, 8}, at::kHalf), at::ones({4, 3, 3, 3}, at::kHalf));
        result.push_back({"fp16", at::kHalf, 5e-3, 1e-2, 5e-3});
    } catch (const c10::Error&) {
    }
    return result;
}

at::Tensor bytes(const std::vector<uint8_t>& values, at::IntArrayRef shape) {
    return at::from_blob(const_cast<uint8_t*>(values.data()), shape, at::kByte);
}

double relative(const at::Tensor& found, const std::vector<float>& expected) {
    const at::Tensor wanted = at::from_blob(const_cast<float*>(expected.data()), {int64_t(expected.size())}).to(at::kDouble);
    return (found.to(at::kDouble).flatten() - wanted).norm().item<double>() / wanted.norm().item<double>();
}

} // namespace

class DeviceNetworks : public testing::TestWithParam<Way> {
protected:
    const Device device{at::kCPU, GetParam().type};
    bool exact() const { return GetParam().type == at::kDouble || GetParam().type == at::kFloat; }
};

TEST_P(DeviceNetworks, faceNetIsTheReferences) {
    const nlohmann::json reference = readJson(test::golden("facenet/facenet.json"));
    const SeededFile file(reference["variables"], "facenet");
    device.run([&] {
        const DeviceFaceNet net(Safetensors(file.path()), device);
        std::vector<uint8_t> all;
        std::vector<float> expected;
        for (const char* const name : {"face-a", "face-b", "face-c"}) {
            const std::vector<uint8_t> chip = test::noise(name, 160, 160);
            const std::vector<float> embedding = readFloats(test::golden(std::string("facenet/") + name + ".embedding.f32"));
            all.insert(all.end(), chip.begin(), chip.end());
            expected.insert(expected.end(), embedding.begin(), embedding.end());
            if (!exact()) continue;
            Stages stages(reference["stages"][name], true);
            const at::Tensor features = net.forward(bytes(chip, {1, 160, 160, 3}), stages.deviceObserver());
            EXPECT_EQ(stages.seen(), 15u);
            EXPECT_LT(relative(features, embedding), GetParam().faceNet) << name;
        }
        const at::Tensor together = net.forward(bytes(all, {3, 160, 160, 3}));
        const double distance = relative(together, expected); // of rows of length 1
        std::printf("FaceNet in %s: %.2g from the reference\n", GetParam().name, distance);
        EXPECT_LT(distance, GetParam().faceNet);
        EXPECT_NEAR(together[1].to(at::kDouble).norm().item<double>(), 1, 1e-5);
    });
}

TEST_P(DeviceNetworks, fcrnIsTheReferences) {
    const nlohmann::json reference = readJson(test::golden("fcrn/fcrn.json"));
    const SeededFile file(reference["variables"], "fcrn");
    device.run([&] {
        const DeviceFcrn net(Safetensors(file.path()), device);
        for (const char* const name : {"fcrn-a", "fcrn-b"}) {
            const std::vector<uint8_t> pixels = test::noise(name, 228, 304);
            Stages stages(reference["stages"][name], false);
            const at::Tensor depth = net.forward(bytes(pixels, {1, 228, 304, 3}), exact() ? stages.deviceObserver() : nullptr);
            if (exact()) EXPECT_EQ(stages.seen(), reference["stages"][name].size());
            const double error = relative(depth, readFloats(test::golden(std::string("fcrn/") + name + ".depth.f32")));
            std::printf("FCRN in %s: relative error %.2g\n", GetParam().name, error);
            EXPECT_LT(error, GetParam().fcrn);
        }
    });
}

TEST_P(DeviceNetworks, resnet128IsTheReferences) {
    const nlohmann::json reference = readJson(test::golden("resnet128/resnet128.json"))["chips"];
    std::vector<uint8_t> all;
    std::vector<float> expected;
    for (const auto& [name, chip] : reference.items()) {
        const std::string file = chip["pixels"];
        const std::vector<uint8_t> pixels = file.rfind("seeded", 0) == 0 ? test::noise(name, 150, 150) : test::readBytes(test::golden("resnet128/" + file));
        all.insert(all.end(), pixels.begin(), pixels.end());
        for (const float value : chip["descriptor"].get<std::vector<float>>()) expected.push_back(value);
    }
    const int64_t n = int64_t(reference.size());
    device.run([&] {
        const DeviceResnet128 net(Safetensors(test::model("resnet128")), device);
        const at::Tensor features = net.forward(bytes(all, {n, 150, 150, 3})).to(at::kDouble);
        const at::Tensor wanted = at::from_blob(expected.data(), {n, 128}).to(at::kDouble);
        const double worst = (features - wanted).norm(2, 1).max().item<double>();
        std::printf("resnet128 in %s: at most %.2g from the reference\n", GetParam().name, worst);
        EXPECT_LT(worst, GetParam().resnet128);
    });
}

INSTANTIATE_TEST_SUITE_P(Types, DeviceNetworks, testing::ValuesIn(ways()), [](const auto& info) { return info.param.name; });

TEST(Batched, takesAnyNumber) {
    const auto device = std::make_shared<const Device>(at::kCPU, at::kFloat);
    std::vector<int64_t> sizes;
    Batched twice(device, [&](const at::Tensor& x) { return sizes.push_back(x.size(0)), x.mul(2); }, 4);
    device->run([&] {
        for (const int64_t n : {1, 3, 4, 9}) EXPECT_TRUE(twice(at::arange(2 * n).view({n, 2})).equal(at::arange(2 * n).mul(2).view({n, 2}))) << n;
    });
    EXPECT_EQ(sizes, (std::vector<int64_t>{1, 3, 4, 4, 4, 1}));
}

TEST(Device, saysWhyThereIsNone) {
#ifndef FAISS_VISION_CUDA
    std::string message;
    EXPECT_EQ(test::codeOf([] { Device::open("cuda", Precision::Fp32); }, &message), "ERR_CUDA_UNAVAILABLE");
    EXPECT_NE(message.find("no CUDA"), std::string::npos) << message;
#else
    GTEST_SKIP() << "built with CUDA: scripts/gpu-check asks for devices that are there";
#endif
}
