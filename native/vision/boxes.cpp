#include "vision/boxes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>

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

/// The boxes kept so far, by size and place: of two that overlap by more than a share of their union the smaller has more than that share
/// of the larger's area, so those that meet are of one class of sizes or of neighbouring ones, and there in one cell or in neighbouring ones.
/// A picture full of noise has a hundred thousand candidates; comparing each with each would take minutes.
class Kept {
public:
    Kept(const std::vector<Box>& boxes, double threshold, Overlap overlap)
        : boxes_(boxes), threshold_(threshold), overlap_(overlap), classes_(boxes.size()), next_(boxes.size(), kNone) {
        for (size_t i = 0; i < boxes.size(); i++) {
            classes_[i] = classOf(boxes[i]);
            if (classes_[i] == kNowhere) continue;
            Grid& grid = grids_[size_t(classes_[i])];
            const Box& box = boxes[i];
            grid.cell = std::max({grid.cell, box.x2 - box.x1 + 1, box.y2 - box.y1 + 1});
            grid.left = std::min(grid.left, box.x1), grid.right = std::max(grid.right, box.x1);
            grid.top = std::min(grid.top, box.y1), grid.bottom = std::max(grid.bottom, box.y1);
            grid.boxes++;
        }
        for (Grid& grid : grids_) {
            if (grid.boxes > 0) grid.layOut();
        }
    }

    bool meets(size_t index) const {
        const int own = classes_[index];
        if (own == kNowhere) return false;
        for (int other = std::max(own - 1, 0); other <= std::min(own + 1, kClasses - 1); other++) {
            const Grid& grid = grids_[size_t(other)];
            if (grid.boxes > 0 && meets(index, grid)) return true;
        }
        return false;
    }

    void add(size_t index) {
        if (classes_[index] == kNowhere) return;
        Grid& grid = grids_[size_t(classes_[index])];
        size_t& first = grid.first[size_t(grid.row(boxes_[index].y1)) * size_t(grid.columns) + size_t(grid.column(boxes_[index].x1))];
        next_[index] = std::exchange(first, index);
    }

private:
    static constexpr size_t kNone = SIZE_MAX;
    static constexpr int kClasses = 64, kNowhere = -1; // for a box that weights made no number of

    struct Grid {
        float cell = 1, left = INFINITY, top = INFINITY, right = -INFINITY, bottom = -INFINITY;
        size_t boxes = 0;
        int columns = 0, rows = 0;
        std::vector<size_t> first; // of the boxes in each cell; next_ leads on

        /// No more cells than a few for each box.
        void layOut() {
            const double width = double(right) - left + 1, height = double(bottom) - top + 1;
            cell = std::max(cell, float(std::sqrt(width * height / (4.0 * double(boxes)))));
            cell = std::max({cell, float(width / (4.0 * double(boxes))), float(height / (4.0 * double(boxes)))});
            columns = int(width / cell) + 1, rows = int(height / cell) + 1;
            first.assign(size_t(columns) * size_t(rows), kNone);
        }
        int column(float x) const { return std::clamp(int((x - left) / cell), 0, columns - 1); }
        int row(float y) const { return std::clamp(int((y - top) / cell), 0, rows - 1); }
    };

    int classOf(const Box& box) const {
        for (const float edge : {box.x1, box.y1, box.x2, box.y2}) {
            if (!(std::abs(edge) < 1e9f)) return kNowhere;
        }
        const double area = (double(box.x2) - box.x1) * (double(box.y2) - box.y1);
        if (overlap_ == Overlap::Smaller || !(area > 1)) return 0;
        return std::min(int(std::log(area) / (-1.001 * std::log(threshold_))), kClasses - 1); // what is larger still is one class
    }

    bool meets(size_t index, const Grid& grid) const {
        const Box& box = boxes_[index];
        // A box to the left or above begins at most the length of a cell away.
        const int left = grid.column(box.x1 - grid.cell), right = grid.column(box.x2 + 1);
        const int top = grid.row(box.y1 - grid.cell), bottom = grid.row(box.y2 + 1);
        for (int row = top; row <= bottom; row++) {
            for (int column = left; column <= right; column++) {
                for (size_t other = grid.first[size_t(row) * size_t(grid.columns) + size_t(column)]; other != kNone; other = next_[other]) {
                    if (overlaps(boxes_[other], box, threshold_, overlap_)) return true;
                }
            }
        }
        return false;
    }

    const std::vector<Box>& boxes_;
    const double threshold_;
    const Overlap overlap_;
    std::vector<int> classes_;
    std::vector<size_t> next_; // in the same cell
    std::array<Grid, kClasses> grids_;
};

} // namespace

std::vector<size_t> suppress(const std::vector<Box>& boxes, double threshold, Overlap overlap) {
    std::vector<size_t> order(boxes.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return boxes[a].score > boxes[b].score; });

    Kept kept(boxes, threshold, overlap);
    std::vector<size_t> result;
    for (const size_t index : order) {
        if (kept.meets(index)) continue;
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
