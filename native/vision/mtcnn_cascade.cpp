#include "vision/mtcnn_cascade.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"

namespace faiss_vision {
namespace {

constexpr double kFactor = 0.709;     // from one level of the pyramid to the next, about the root of a half
constexpr double kLevelOverlap = 0.5; // suppression within one level
constexpr double kOverlap = 0.7;      // suppression everywhere else

/// Scales of the pyramid: from the smallest face filling a window of 12 pixels down to the whole picture filling it.
std::vector<double> pyramid(const MtcnnCascade::Size& picture, double minFaceSize) {
    std::vector<double> scales;
    double scale = PNet::kCell / minFaceSize;
    double side = std::min(picture.width, picture.height) * scale;
    for (; side >= PNet::kCell; side *= kFactor, scale *= kFactor) scales.push_back(scale);
    return scales;
}

/// The pixels of a box, cut at the picture's edges. The box's corner (1, 1) is the first pixel.
AreaResampler::Rectangle pixelsOf(const Box& box, const MtcnnCascade::Size& picture) {
    const auto whole = [](float value, int low, int high) { return int(std::clamp(std::trunc(value), float(low), float(high))); };
    const int x = whole(box.x1, 1, picture.width + 1), y = whole(box.y1, 1, picture.height + 1);
    const int right = whole(box.x2, 0, picture.width), bottom = whole(box.y2, 0, picture.height);
    return {x - 1, y - 1, right - x + 1, bottom - y + 1};
}

/// Landmarks from the shares of a box's width and height that the third network gives.
Landmarks within(const Box& box, const CropAnswer& answer) {
    Landmarks points;
    for (size_t i = 0; i < points.size(); i++) {
        points[i] = {(box.x2 - box.x1 + 1) * answer.landmarks[i] + box.x1 - 1,
                     (box.y2 - box.y1 + 1) * answer.landmarks[5 + i] + box.y1 - 1};
    }
    return points;
}

double checkedFaceSize(double size) {
    if (!(size >= MtcnnOptions::kSmallestFace && size <= 1e6)) {
        throw Error("ERR_INVALID_ARGUMENT", "minFaceSize: expected a number of pixels from 6 to 1000000, got " + std::to_string(size));
    }
    return size;
}

std::vector<MtcnnCascade::Crop> cropsOf(const std::vector<MtcnnCascade::Size>& pictures, const std::vector<std::vector<Box>>& boxes) {
    std::vector<MtcnnCascade::Crop> crops;
    for (size_t i = 0; i < pictures.size(); i++) {
        for (const Box& box : boxes[i]) {
            const AreaResampler::Rectangle pixels = pixelsOf(box, pictures[i]);
            if (pixels.width > 0 && pixels.height > 0) crops.push_back({i, box, pixels, {}});
        }
    }
    return crops;
}

/// The boxes that are kept, moved to where the network wants them, as squares.
std::vector<std::vector<Box>> refined(const std::vector<std::vector<Candidate>>& candidates, float extra) {
    std::vector<std::vector<Box>> boxes(candidates.size());
    for (size_t i = 0; i < candidates.size(); i++) {
        for (const Candidate& candidate : suppress(candidates[i], kOverlap)) {
            boxes[i].push_back(squared(moved(candidate.box, candidate.offsets, extra)));
        }
    }
    return boxes;
}

} // namespace

const MtcnnOptions& MtcnnOptions::checked() const {
    checkedFaceSize(minFaceSize);
    for (const double threshold : thresholds) {
        if (!(threshold > 0 && threshold < 1)) {
            throw Error("ERR_INVALID_ARGUMENT",
                        "thresholds: expected three numbers between 0 and 1, got " + std::to_string(threshold));
        }
    }
    return *this;
}

MtcnnCascade::Boxes MtcnnCascade::propose(const std::vector<Size>& pictures, const std::vector<double>& minFaceSizes,
                                          const MtcnnOptions& options) const {
    std::vector<Level> levels;
    for (size_t i = 0; i < pictures.size(); i++) {
        const double given = minFaceSizes.empty() ? 0 : minFaceSizes[i];
        for (const double scale : pyramid(pictures[i], given == 0 ? options.minFaceSize : checkedFaceSize(given))) {
            levels.push_back({i, scale, int(pictures[i].width * scale + 1), int(pictures[i].height * scale + 1), {}});
        }
    }
    scan(levels);
    std::vector<std::vector<Candidate>> candidates(pictures.size());
    for (Level& level : levels) {
        const std::vector<Candidate> kept = suppress(level.candidates, kLevelOverlap);
        candidates[level.picture].insert(candidates[level.picture].end(), kept.begin(), kept.end());
        level.candidates = {};
    }
    return refined(candidates, 0);
}

std::vector<std::vector<Detection>> MtcnnCascade::detect(const std::vector<Size>& pictures, const std::vector<double>& minFaceSizes,
                                                         const MtcnnOptions& options) const {
    std::vector<Crop> crops = cropsOf(pictures, propose(pictures, minFaceSizes, options));
    refine(crops);
    std::vector<std::vector<Candidate>> candidates(pictures.size());
    for (const Crop& crop : crops) {
        if (!(crop.answer.score > float(options.thresholds[1]))) continue;
        candidates[crop.picture].push_back({crop.box, crop.answer.offsets});
        candidates[crop.picture].back().box.score = crop.answer.score;
    }
    crops = cropsOf(pictures, refined(candidates, 1));
    decide(crops);
    std::vector<std::vector<Detection>> found(pictures.size());
    for (const Crop& crop : crops) {
        if (!(crop.answer.score > float(options.thresholds[2]))) continue;
        const Box& box = crop.box;
        const float width = float(pictures[crop.picture].width), height = float(pictures[crop.picture].height);
        const Box visible{std::max(box.x1, 1.0f), std::max(box.y1, 1.0f), std::min(box.x2, width), std::min(box.y2, height), 0};
        Detection detection{moved(box, crop.answer.offsets, 1), within(box, crop.answer), within(visible, crop.answer)};
        detection.box.score = crop.answer.score;
        found[crop.picture].push_back(detection);
    }
    std::vector<std::vector<Detection>> faces(pictures.size());
    for (size_t i = 0; i < pictures.size(); i++) {
        std::vector<Box> edges;
        for (const Detection& detection : found[i]) edges.push_back(detection.box);
        for (const size_t index : suppress(edges, kOverlap, Overlap::Smaller)) faces[i].push_back(found[i][index]);
        const auto area = [](const Detection& face) { return (face.box.x2 - face.box.x1) * (face.box.y2 - face.box.y1); };
        std::stable_sort(faces[i].begin(), faces[i].end(),
                         [&](const Detection& a, const Detection& b) { return area(a) > area(b); });
    }
    return faces;
}

} // namespace faiss_vision
