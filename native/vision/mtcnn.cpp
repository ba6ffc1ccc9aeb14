#include "vision/mtcnn.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"
#include "vision/parallel.h"

namespace faiss_vision {
namespace {

constexpr double kFactor = 0.709;     // from one level of the pyramid to the next, about the root of a half
constexpr double kLevelOverlap = 0.5; // suppression within one level
constexpr double kOverlap = 0.7;      // suppression everywhere else
constexpr int kLeastRows = 32;        // of a level in a piece of work: each computes 4 rows that its neighbour computes too
constexpr int kCropsPerPiece = kernels::kBlock;

/// Scales of the pyramid: from the smallest face filling a window of 12 pixels down to the whole picture filling it.
std::vector<double> pyramid(const RgbPixels& picture, double minFaceSize) {
    std::vector<double> scales;
    double scale = PNet::kCell / minFaceSize;
    double side = std::min(picture.width(), picture.height()) * scale;
    for (; side >= PNet::kCell; side *= kFactor, scale *= kFactor) scales.push_back(scale);
    return scales;
}

/// The pixels of a box, cut at the picture's edges. The box's corner (1, 1) is the first pixel.
AreaResampler::Rectangle pixelsOf(const Box& box, const RgbPixels& picture) {
    const auto whole = [](float value, int low, int high) { return int(std::clamp(std::trunc(value), float(low), float(high))); };
    const int x = whole(box.x1, 1, picture.width() + 1), y = whole(box.y1, 1, picture.height() + 1);
    const int right = whole(box.x2, 0, picture.width()), bottom = whole(box.y2, 0, picture.height());
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

MtcnnOptions checked(const MtcnnOptions& options) {
    checkedFaceSize(options.minFaceSize);
    for (const double threshold : options.thresholds) {
        if (!(threshold > 0 && threshold < 1)) {
            throw Error("ERR_INVALID_ARGUMENT",
                        "thresholds: expected three numbers between 0 and 1, got " + std::to_string(threshold));
        }
    }
    return options;
}

} // namespace

Mtcnn::Mtcnn(const Safetensors& weights, const MtcnnOptions& options)
    : options_(checked(options)),
      pnet_((weights.requireModel("mtcnn"), weights)),
      rnet_(weights),
      onet_(weights) {}

std::vector<std::vector<Detection>> Mtcnn::detect(const std::vector<const RgbPixels*>& pictures, const std::vector<double>& minFaceSizes) const {
    return decide(pictures, refine(pictures, propose(pictures, minFaceSizes)));
}

Mtcnn::Boxes Mtcnn::propose(const std::vector<const RgbPixels*>& pictures, const std::vector<double>& minFaceSizes) const {
    struct Level {
        size_t picture;
        double scale;
        AreaResampler pixels;
        std::vector<Candidate> candidates;
    };
    struct Piece {
        size_t level;
        int begin, end;
        std::vector<Candidate> candidates;
    };
    std::vector<Level> levels;
    for (size_t i = 0; i < pictures.size(); i++) {
        const RgbPixels& picture = *pictures[i];
        const double given = minFaceSizes.empty() ? 0 : minFaceSizes[i];
        for (const double scale : pyramid(picture, given == 0 ? options_.minFaceSize : checkedFaceSize(given))) {
            const int width = int(picture.width() * scale + 1), height = int(picture.height() * scale + 1);
            levels.push_back({i, scale, AreaResampler(picture, {0, 0, picture.width(), picture.height()}, width, height), {}});
        }
    }
    std::vector<Piece> pieces;
    for (size_t level = 0; level < levels.size(); level++) {
        const int rows = PNet::gridSize(levels[level].pixels.height());
        const int perPiece = std::max(kLeastRows, rows / (4 * at::get_num_threads()) + 1);
        for (int row = 0; row < rows; row += perPiece) pieces.push_back({level, row, std::min(row + perPiece, rows), {}});
    }
    forEachPiece(
        int64_t(pieces.size()), [] { return Workspace(); },
        [&](Workspace& workspace, int64_t i) {
            Piece& piece = pieces[size_t(i)];
            const Level& level = levels[piece.level];
            piece.candidates = pnet_.scan(level.pixels, piece.begin, piece.end, level.scale, options_.thresholds[0], workspace);
        });

    for (Piece& piece : pieces) {
        std::vector<Candidate>& all = levels[piece.level].candidates;
        all.insert(all.end(), piece.candidates.begin(), piece.candidates.end());
        piece.candidates = {};
    }
    Candidates candidates(pictures.size());
    for (Level& level : levels) {
        const std::vector<Candidate> kept = suppress(level.candidates, kLevelOverlap);
        candidates[level.picture].insert(candidates[level.picture].end(), kept.begin(), kept.end());
        level.candidates = {};
    }
    Boxes boxes(pictures.size());
    for (size_t i = 0; i < pictures.size(); i++) {
        for (const Candidate& candidate : suppress(candidates[i], kOverlap)) {
            boxes[i].push_back(squared(moved(candidate.box, candidate.offsets, 0)));
        }
    }
    return boxes;
}

template <class Net>
std::vector<Mtcnn::Crop> Mtcnn::look(const Net& net, const std::vector<const RgbPixels*>& pictures, const Boxes& boxes) const {
    std::vector<Crop> crops;
    for (size_t i = 0; i < pictures.size(); i++) {
        for (const Box& box : boxes[i]) {
            const AreaResampler::Rectangle pixels = pixelsOf(box, *pictures[i]);
            if (pixels.width > 0 && pixels.height > 0) crops.push_back({i, box, {}});
        }
    }
    const int64_t threads = at::get_num_threads(), total = int64_t(crops.size());
    const int64_t perPiece = std::clamp<int64_t>((total + threads - 1) / threads, 1, kCropsPerPiece);
    const int64_t pieces = (total + perPiece - 1) / perPiece;
    constexpr size_t kSize = size_t{3} * Net::kSide * Net::kSide;

    struct Kept {
        Workspace workspace;
        std::vector<float> pixels = std::vector<float>(kCropsPerPiece * kSize + kernels::kSlack);
    };
    forEachPiece(
        pieces, [] { return Kept(); },
        [&](Kept& kept, int64_t piece) {
            const int64_t begin = piece * perPiece, end = std::min(begin + perPiece, total);
            for (int64_t i = begin; i < end; i++) {
                const RgbPixels& picture = *pictures[crops[size_t(i)].picture];
                const AreaResampler scaled(picture, pixelsOf(crops[size_t(i)].box, picture), Net::kSide, Net::kSide);
                float* to = kept.pixels.data() + size_t(i - begin) * kSize;
                for (int y = 0; y < Net::kSide; y++)
                    scaled.row(y, 1 / 128.0f, -127.5f / 128, kept.workspace.sums, to + size_t{3} * Net::kSide * y);
            }
            const std::vector<CropAnswer> answers = net.forward(kept.pixels.data(), int(end - begin), kept.workspace);
            for (int64_t i = begin; i < end; i++) crops[size_t(i)].answer = answers[size_t(i - begin)];
        });
    return crops;
}

Mtcnn::Boxes Mtcnn::refine(const std::vector<const RgbPixels*>& pictures, const Boxes& boxes) const {
    Candidates candidates(pictures.size());
    for (const Crop& crop : look(rnet_, pictures, boxes)) {
        if (!(crop.answer.score > float(options_.thresholds[1]))) continue;
        candidates[crop.picture].push_back({crop.box, crop.answer.offsets});
        candidates[crop.picture].back().box.score = crop.answer.score;
    }
    Boxes refined(pictures.size());
    for (size_t i = 0; i < pictures.size(); i++) {
        for (const Candidate& candidate : suppress(candidates[i], kOverlap)) {
            refined[i].push_back(squared(moved(candidate.box, candidate.offsets, 1)));
        }
    }
    return refined;
}

std::vector<std::vector<Detection>> Mtcnn::decide(const std::vector<const RgbPixels*>& pictures, const Boxes& boxes) const {
    std::vector<std::vector<Detection>> found(pictures.size());
    for (const Crop& crop : look(onet_, pictures, boxes)) {
        if (!(crop.answer.score > float(options_.thresholds[2]))) continue;
        const Box& box = crop.box;
        const float width = float(pictures[crop.picture]->width()), height = float(pictures[crop.picture]->height());
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
