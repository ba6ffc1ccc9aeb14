#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

#include "vision/resnet128.h"
#include "vision_support.h"

using namespace faiss_vision;

namespace {

Resnet128& net() {
    static Resnet128 loaded{Safetensors(test::model("resnet128"))};
    return loaded;
}

std::vector<float> features(const std::vector<uint8_t>& chips) {
    const int64_t n = int64_t(chips.size()) / (150 * 150 * 3);
    std::vector<float> result(size_t(n) * 128);
    net().forward(chips.data(), n, result.data());
    return result;
}

const nlohmann::json& descriptors() {
    static const nlohmann::json read = nlohmann::json::parse(std::ifstream(test::golden("resnet128/resnet128.json")))["chips"];
    return read;
}

std::vector<uint8_t> pixels(const std::string& name) { return name == "chip-a" ? test::noise(name, 150, 150) : test::chip(name); }

} // namespace

TEST(Resnet128, givesFaceApisDescriptors) {
    ASSERT_EQ(descriptors().size(), 7u);
    for (const auto& [name, golden] : descriptors().items()) {
        const std::vector<float> found = features(pixels(name));
        const std::vector<float> expected = golden["descriptor"].get<std::vector<float>>();
        ASSERT_EQ(found.size(), expected.size());
        for (size_t i = 0; i < found.size(); i++) EXPECT_NEAR(found[i], expected[i], 1e-5) << name << " " << i;
    }
}

TEST(Resnet128, aChipGivesTheSameNumbersInEveryBatch) {
    std::vector<std::vector<float>> alone;
    std::vector<uint8_t> all;
    for (int copy = 0; copy < 3; copy++) { // 21 chips: more than one batch
        for (const auto& [name, golden] : descriptors().items()) {
            const std::vector<uint8_t> chip = pixels(name);
            all.insert(all.end(), chip.begin(), chip.end());
            alone.push_back(features(chip));
        }
    }
    for (const size_t n : {size_t{2}, size_t{3}, size_t{7}, alone.size()}) {
        const std::vector<float> together = features({all.begin(), all.begin() + ptrdiff_t(n) * 150 * 150 * 3});
        for (size_t i = 0; i < n; i++) {
            EXPECT_TRUE(std::equal(alone[i].begin(), alone[i].end(), together.begin() + ptrdiff_t(i) * 128)) << i << " of " << n;
        }
    }
}
