#include "vision/box_chip.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace faiss_vision {
namespace {

constexpr int kBits = BoxWeights::kBits;

uint8_t clipped(int sum) { return uint8_t(std::clamp(sum >> kBits, 0, 255)); }

} // namespace

BoxWeights::BoxWeights(int in, int out) {
    const double scale = double(in) / out, support = std::max(scale, 1.0);
    for (int i = 0; i < out; i++) {
        const double centre = (i + 0.5) * scale;
        const int begin = std::max(int(centre - support + 0.5), 0), end = std::min(int(centre + support + 0.5), in);
        std::vector<double> exact;
        double sum = 0;
        for (int x = begin; x < end; x++) {
            exact.push_back(std::max(0.0, 1 - std::abs((x - centre + 0.5) / support)));
            sum += exact.back();
        }
        spans_.push_back({begin, end, numbers_.size()});
        for (const double weight : exact) numbers_.push_back(int(0.5 + weight / sum * (1 << kBits)));
    }
}

BoxCut::BoxCut(int pictureWidth, int pictureHeight, const Box& box, int size, int margin) {
    const double share = double(margin) / (size - margin) / 2;
    const double wide = (double(box.x2) - box.x1) * share, high = (double(box.y2) - box.y1) * share;
    // A box that lies outside the picture is cut to the pixels at its edge, so that there is one at least.
    left = int(std::clamp(box.x1 - wide, 0.0, pictureWidth - 1.0)), top = int(std::clamp(box.y1 - high, 0.0, pictureHeight - 1.0));
    width = std::max(int(std::clamp(box.x2 + wide, 0.0, double(pictureWidth))), left + 1) - left;
    height = std::max(int(std::clamp(box.y2 + high, 0.0, double(pictureHeight))), top + 1) - top;
}

void cutBoxChip(const RgbPixels& picture, const Box& box, int size, int margin, uint8_t* chip) {
    const auto [left, top, width, height] = BoxCut(picture.width(), picture.height(), box, size, margin);

    const BoxWeights columns(width, size), rows(height, size);
    std::vector<uint8_t> narrow(size_t(height) * size * 3);
    for (int y = 0; y < height; y++) {
        const uint8_t* const from = picture.at(left, top + y);
        uint8_t* to = narrow.data() + size_t(y) * size * 3;
        for (int x = 0; x < size; x++, to += 3) {
            const auto& span = columns.span(x);
            const int* weight = columns.of(span);
            int sums[3] = {1 << (kBits - 1), 1 << (kBits - 1), 1 << (kBits - 1)};
            for (int i = span.begin; i < span.end; i++, weight++) {
                for (int c = 0; c < 3; c++) sums[c] += from[3 * i + c] * *weight;
            }
            for (int c = 0; c < 3; c++) to[c] = clipped(sums[c]);
        }
    }
    std::vector<int> sums(size_t(size) * 3);
    for (int y = 0; y < size; y++) {
        const auto& span = rows.span(y);
        const int* weight = rows.of(span);
        std::fill(sums.begin(), sums.end(), 1 << (kBits - 1));
        for (int i = span.begin; i < span.end; i++, weight++) {
            const uint8_t* const from = narrow.data() + size_t(i) * size * 3;
            for (int x = 0; x < 3 * size; x++) sums[size_t(x)] += from[x] * *weight;
        }
        for (int x = 0; x < 3 * size; x++) chip[size_t(y) * size * 3 + size_t(x)] = clipped(sums[size_t(x)]);
    }
}

} // namespace faiss_vision
