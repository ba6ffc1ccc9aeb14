#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "vision/boxes.h"
#include "vision_support.h"

using namespace faiss_vision;

namespace {

std::vector<Box> randomBoxes(const std::string& name, size_t count, float extent, float side) {
    const std::vector<float> random = test::seeded(name, 5 * count);
    std::vector<Box> boxes(count);
    for (size_t i = 0; i < count; i++) {
        const float* r = &random[5 * i];
        const float x = (r[0] - 0.1f) * extent, y = (r[1] - 0.1f) * extent;
        // Coarse scores, so that many are equal.
        boxes[i] = {x, y, x + side * (0.1f + r[2]), y + side * (0.1f + r[3]), std::floor(r[4] * 50) / 50};
    }
    return boxes;
}

double overlap(const Box& a, const Box& b, Overlap kind) {
    const double extra = kind == Overlap::Smaller ? 1 : 0;
    const double width = std::max(0.0, double(std::min(a.x2, b.x2)) - std::max(a.x1, b.x1) + extra);
    const double height = std::max(0.0, double(std::min(a.y2, b.y2)) - std::max(a.y1, b.y1) + extra);
    const auto area = [&](const Box& box) { return (box.x2 - box.x1 + extra) * (box.y2 - box.y1 + extra); };
    const double common = width * height;
    return common / (kind == Overlap::Smaller ? std::min(area(a), area(b)) : area(a) + area(b) - common);
}

} // namespace

TEST(Suppress, keepsWhatNoBetterKeptBoxCovers) {
    for (const Overlap kind : {Overlap::Union, Overlap::Smaller}) {
        for (const double threshold : {0.3, 0.5, 0.7}) {
            const std::vector<Box> boxes = randomBoxes("boxes", 1000, 300, 60);
            const std::vector<size_t> kept = suppress(boxes, threshold, kind);
            ASSERT_GT(kept.size(), 10u);
            ASSERT_LT(kept.size(), 1000u);
            std::vector<bool> isKept(boxes.size());
            for (const size_t i : kept) isKept[i] = true;
            for (size_t i = 1; i < kept.size(); i++) {
                EXPECT_TRUE(boxes[kept[i - 1]].score > boxes[kept[i]].score ||
                            (boxes[kept[i - 1]].score == boxes[kept[i]].score && kept[i - 1] < kept[i]));
            }
            for (size_t i = 0; i < boxes.size(); i++) {
                const bool covered = std::any_of(kept.begin(), kept.end(), [&](size_t k) {
                    const bool better = boxes[k].score > boxes[i].score || (boxes[k].score == boxes[i].score && k < i);
                    return better && overlap(boxes[k], boxes[i], kind) > threshold;
                });
                EXPECT_NE(isKept[i], covered) << i;
            }
        }
    }
}

/// Comparing each with each, in the same arithmetic as the networks' authors: floats.
std::vector<size_t> suppressedOneByOne(const std::vector<Box>& boxes, double threshold, Overlap kind) {
    std::vector<size_t> order(boxes.size()), kept;
    for (size_t i = 0; i < order.size(); i++) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return boxes[a].score > boxes[b].score; });
    const float extra = kind == Overlap::Smaller ? 1 : 0;
    const auto area = [&](const Box& box) { return (box.x2 - box.x1 + extra) * (box.y2 - box.y1 + extra); };
    for (const size_t i : order) {
        const bool covered = std::any_of(kept.begin(), kept.end(), [&](size_t k) {
            const Box &a = boxes[k], &b = boxes[i];
            const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1) + extra, height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1) + extra;
            if (width <= 0 || height <= 0) return false;
            const float common = width * height;
            if (kind == Overlap::Smaller) return common / std::min(area(a), area(b)) > float(threshold);
            return double(common / (area(a) + area(b) - common)) > threshold;
        });
        if (!covered) kept.push_back(i);
    }
    return kept;
}

TEST(Suppress, ofEverySizeAsOneByOne) {
    const struct {
        float extent, least, most;
    } sizes[] = {{20, 0.01f, 3}, {6, -2, 4}, {500, 1, 200}, {60, 0.5f, 60}, {40, 7, 9}, {3, 0, 1.5f}, {1e6f, 1e3f, 1e6f}};
    for (const auto& size : sizes) {
        for (int seed = 0; seed < 10; seed++) {
            const std::vector<float> random = test::seeded("every size " + std::to_string(seed), 5 * 400);
            std::vector<Box> boxes;
            for (size_t i = 0; i < 400; i++) {
                const float* r = &random[5 * i];
                // Sizes by their ratios, so that as many are small as large; some whole, so that edges meet.
                const float wide = size.least <= 0 ? size.least + r[2] * (size.most - size.least)
                                                   : size.least * std::pow(size.most / size.least, r[2]);
                const float high = i % 3 == 0 ? wide : wide * (0.5f + r[3]);
                Box box{r[0] * size.extent, r[1] * size.extent, 0, 0, std::floor(r[4] * 20) / 20};
                if (i % 4 == 0) box.x1 = std::floor(box.x1), box.y1 = std::floor(box.y1);
                box.x2 = box.x1 + (i % 4 == 0 ? std::round(wide) : wide), box.y2 = box.y1 + (i % 4 == 0 ? std::round(high) : high);
                boxes.push_back(box);
            }
            for (const Overlap kind : {Overlap::Union, Overlap::Smaller}) {
                for (const double threshold : {0.5, 0.7}) {
                    const std::vector<size_t> expected = suppressedOneByOne(boxes, threshold, kind);
                    EXPECT_EQ(suppress(boxes, threshold, kind), expected) << size.least << " to " << size.most << " " << threshold;
                }
            }
        }
    }
}

TEST(Suppress, manyBoxesTakeNoQuadraticTime) {
    const std::vector<Box> boxes = randomBoxes("many boxes", 200'000, 8000, 20);
    EXPECT_GT(suppress(boxes, 0.5, Overlap::Union).size(), 10'000u); // comparing each with each would run into the time limit
}

TEST(Suppress, boxesOfNoNumbersMeetNone) {
    const float none = std::nanf(""), endless = INFINITY;
    const std::vector<Box> boxes = {{0, 0, 10, 10, 0.9f}, {none, 0, 10, 10, 0.8f}, {0, -endless, endless, 10, 0.7f}, {1, 1, 10, 10, 0.6f}};
    EXPECT_EQ(suppress(boxes, 0.5, Overlap::Union), (std::vector<size_t>{0, 1, 2}));
}

TEST(Suppress, nothingGivesNothing) { EXPECT_TRUE(suppress(std::vector<Box>(), 0.5, Overlap::Union).empty()); }

TEST(Box, movesAndSquares) {
    const Box box{10, 20, 50, 40, 0.5f};
    const Box there = moved(box, {0.25f, -0.5f, 0, 1}, 0);
    EXPECT_EQ(there.x1, 20);
    EXPECT_EQ(there.y1, 10);
    EXPECT_EQ(there.x2, 50);
    EXPECT_EQ(there.y2, 60);
    EXPECT_EQ(moved(box, {1, 0, 0, 0}, 1).x1, 10 + 41);
    const Box square = squared(box);
    EXPECT_EQ(square.x1, 10);
    EXPECT_EQ(square.y1, 10);
    EXPECT_EQ(square.x2, 50);
    EXPECT_EQ(square.y2, 50);
    EXPECT_EQ(square.score, 0.5f);
}
