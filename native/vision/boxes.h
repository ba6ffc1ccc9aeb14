#pragma once

#include <array>
#include <cstddef>
#include <vector>

namespace faiss_vision {

/// A box in pixels, from (x1, y1) to (x2, y2), and how sure the network is that it holds a face.
/// The arithmetic on it is that of facenet-pytorch, in float32: its roundings decide which pixels are cut out.
struct Box {
    float x1, y1, x2, y2;
    float score;
};

/// What a box network adds to a box's edges, in widths and heights of that box: left, top, right, bottom.
using Offsets = std::array<float, 4>;

struct Candidate {
    Box box;
    Offsets offsets;
};

/// How much of two boxes is common.
enum class Overlap {
    Union,   ///< intersection / union
    Smaller, ///< intersection / area of the smaller one, with edges that belong to the box (+ 1 pixel)
};

/// Non-maximum suppression: keeps a box when it overlaps no better one by more than the threshold.
/// Of equally good boxes the earlier one is better. Returns indices, best first.
std::vector<size_t> suppress(const std::vector<Box>& boxes, double threshold, Overlap overlap);

/// The same for candidates, whose order becomes that of the indices.
std::vector<Candidate> suppress(const std::vector<Candidate>& candidates, double threshold);

/// The box with its edges moved. `extra` is 1 where the right and bottom edges belong to the box, else 0.
Box moved(const Box& box, const Offsets& offsets, float extra);

/// The square with the same centre, as wide as the longer side.
Box squared(const Box& box);

} // namespace faiss_vision
