#include "vision/boxes.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <unordered_map>

namespace faiss_vision {
namespace {

bool overlaps(const Box& a, const Box& b, double threshold, Overlap overlap) {
    const float extra = overlap == Overlap::Smaller ? 1.0f : 0.0f;
    const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1) + extra;
    const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1) + extra;
    if (width <= 0 || height <= 0) return false;
    const float common = width * height;
    const float areaA = (a.x2 - a.x1 + extra) * (a.y2 - a.y1 + extra);
    const float areaB = (b.x2 - b.x1 + extra) * (b.y2 - b.y1 + extra);
    if (overlap == Overlap::Smaller) return common / std::min(areaA, areaB) > float(threshold);
    return double(common / (areaA + areaB - common)) > threshold;
}

/// The boxes kept so far, by place: boxes that meet lie in the same cell or in neighbouring ones.
/// A picture full of noise has a hundred thousand candidates; comparing each with each would take minutes.
class Grid {
public:
    explicit Grid(const std::vector<Box>& boxes) : boxes_(boxes) {
        for (const Box& box : boxes) cell_ = std::max({cell_, box.x2 - box.x1 + 1, box.y2 - box.y1 + 1});
    }

    bool meets(size_t index, double threshold, Overlap overlap) const {
        const auto [column, row] = place(index);
        for (int64_t y = row - 1; y <= row + 1; y++) {
            for (int64_t x = column - 1; x <= column + 1; x++) {
                const auto found = cells_.find(key(x, y));
                if (found == cells_.end()) continue;
                for (const size_t other : found->second) {
                    if (overlaps(boxes_[other], boxes_[index], threshold, overlap)) return true;
                }
            }
        }
        return false;
    }

    void add(size_t index) {
        const auto [column, row] = place(index);
        cells_[key(column, row)].push_back(index);
    }

private:
    std::pair<int64_t, int64_t> place(size_t index) const {
        return {int64_t(std::floor(boxes_[index].x1 / cell_)), int64_t(std::floor(boxes_[index].y1 / cell_))};
    }
    static uint64_t key(int64_t x, int64_t y) { return uint64_t(x) << 32 ^ (uint64_t(y) & 0xffffffff); }

    const std::vector<Box>& boxes_;
    float cell_ = 1;
    std::unordered_map<uint64_t, std::vector<size_t>> cells_;
};

} // namespace

std::vector<size_t> suppress(const std::vector<Box>& boxes, double threshold, Overlap overlap) {
    std::vector<size_t> order(boxes.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return boxes[a].score > boxes[b].score; });

    Grid kept(boxes);
    std::vector<size_t> result;
    for (const size_t index : order) {
        if (kept.meets(index, threshold, overlap)) continue;
        kept.add(index);
        result.push_back(index);
    }
    return result;
}

std::vector<Candidate> suppress(const std::vector<Candidate>& candidates, double threshold) {
    std::vector<Box> boxes;
    boxes.reserve(candidates.size());
    for (const Candidate& candidate : candidates) boxes.push_back(candidate.box);
    std::vector<Candidate> result;
    for (const size_t index : suppress(boxes, threshold, Overlap::Union)) result.push_back(candidates[index]);
    return result;
}

Box moved(const Box& box, const Offsets& offsets, float extra) {
    const float width = box.x2 - box.x1 + extra, height = box.y2 - box.y1 + extra;
    return {box.x1 + offsets[0] * width, box.y1 + offsets[1] * height, box.x2 + offsets[2] * width, box.y2 + offsets[3] * height,
            box.score};
}

Box squared(const Box& box) {
    const float width = box.x2 - box.x1, height = box.y2 - box.y1, side = std::max(width, height);
    const float x = box.x1 + width * 0.5f - side * 0.5f, y = box.y1 + height * 0.5f - side * 0.5f;
    return {x, y, x + side, y + side, box.score};
}

} // namespace faiss_vision
