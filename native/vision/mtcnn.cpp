#include "vision/mtcnn.h"

#include <algorithm>

#include "vision/parallel.h"

namespace faiss_vision {
namespace {

constexpr int kLeastRows = 32; // of a level in a piece of work: each computes 4 rows that its neighbour computes too
constexpr int kPiecesPerThread = 4; // at least; and the last ones, of the smallest levels, are smaller
constexpr int kCropsPerPiece = kernels::kBlock;

} // namespace

Mtcnn::Mtcnn(const Safetensors& weights, const MtcnnOptions& options)
    : options_(options.checked()),
      pnet_((weights.requireModel("mtcnn"), weights)),
      rnet_(weights),
      onet_(weights) {}

std::vector<std::vector<Detection>> Mtcnn::detect(const std::vector<const RgbPixels*>& pictures, const std::vector<double>& minFaceSizes) const {
    std::vector<MtcnnCascade::Size> sizes;
    for (const RgbPixels* const picture : pictures) sizes.push_back({picture->width(), picture->height()});
    const MtcnnCascade cascade{[&](Levels& levels) { scan(pictures, levels); }, [&](Crops& crops) { look(rnet_, pictures, crops); },
                               [&](Crops& crops) { look(onet_, pictures, crops); }};
    return cascade.detect(sizes, minFaceSizes, options_);
}

void Mtcnn::scan(const std::vector<const RgbPixels*>& pictures, Levels& levels) const {
    std::vector<AreaResampler> pixels;
    for (const MtcnnCascade::Level& level : levels) {
        const RgbPixels& picture = *pictures[level.picture];
        pixels.emplace_back(picture, AreaResampler::Rectangle{0, 0, picture.width(), picture.height()}, level.width, level.height);
    }
    struct Piece {
        size_t level;
        int begin, end;
        std::vector<Candidate> candidates;
    };
    std::vector<Piece> pieces;
    int64_t windows = 0;
    for (const MtcnnCascade::Level& level : levels) windows += int64_t{PNet::gridSize(level.width)} * PNet::gridSize(level.height);
    const int64_t most = windows / (kPiecesPerThread * at::get_num_threads()); // in a piece
    for (size_t level = 0; level < levels.size(); level++) {
        const int rows = PNet::gridSize(levels[level].height), wanted = int(most / PNet::gridSize(levels[level].width));
        const int perPiece = (std::max(kLeastRows, wanted) + PNet::kSquare - 1) / PNet::kSquare * PNet::kSquare;
        for (int row = 0; row < rows; row += perPiece) pieces.push_back({level, row, std::min(row + perPiece, rows), {}});
    }
    forEachPiece(
        int64_t(pieces.size()), [] { return Workspace(); },
        [&](Workspace& workspace, int64_t i) {
            Piece& piece = pieces[size_t(i)];
            piece.candidates = pnet_.scan(pixels[piece.level], piece.begin, piece.end, levels[piece.level].scale, options_.thresholds[0], workspace);
        });
    for (Piece& piece : pieces) {
        std::vector<Candidate>& all = levels[piece.level].candidates;
        all.insert(all.end(), piece.candidates.begin(), piece.candidates.end());
        piece.candidates = {};
    }
}

template <class Net>
void Mtcnn::look(const Net& net, const std::vector<const RgbPixels*>& pictures, Crops& crops) const {
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
                const MtcnnCascade::Crop& crop = crops[size_t(i)];
                const AreaResampler scaled(*pictures[crop.picture], crop.pixels, Net::kSide, Net::kSide);
                float* to = kept.pixels.data() + size_t(i - begin) * kSize;
                for (int y = 0; y < Net::kSide; y++)
                    scaled.row(y, 1 / 128.0f, -127.5f / 128, kept.workspace.sums, to + size_t{3} * Net::kSide * y);
            }
            const std::vector<CropAnswer> answers = net.forward(kept.pixels.data(), int(end - begin), kept.workspace);
            for (int64_t i = begin; i < end; i++) crops[size_t(i)].answer = answers[size_t(i - begin)];
        });
}

} // namespace faiss_vision
