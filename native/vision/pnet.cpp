#include "vision/mtcnn_nets.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "vision/mtcnn_layers.h"

namespace faiss_vision {
namespace {

constexpr int kSquare = PNet::kSquare;
constexpr int kInputSquare = 2 * kSquare; // in front of the pool
constexpr int kColours = 3;
constexpr ptrdiff_t kBand = 192; // squares that are worth a band: the last vector of them is seldom full
constexpr ptrdiff_t kChunk = 16; // squares of the last map in memory

/// Squares of one layer: a row of them left over from the band before, then those of this band.
template <int Side>
struct Band {
    Band(int channels, ptrdiff_t rowSquares, ptrdiff_t rows, Workspace& workspace) : rows(rows), count(tiles::Planes<Side>::count(channels)) {
        // Beyond the band lie the squares below and to the right that the loops read. An odd number of lines of the cache: planes
        // at powers of two would compete for the same ones.
        const ptrdiff_t lines = ((rows + 2) * rowSquares + 1 + tiles::kSlack + 15) / 16 | 1;
        planes = {workspace.take(count * size_t(16 * lines), 1), 16 * lines, rowSquares};
        std::fill_n(planes.data, count * size_t(planes.plane), 0.0f); // what means nothing must be finite all the same
    }
    tiles::Planes<Side> from(ptrdiff_t row) const { return {planes.data + row * planes.row, planes.plane, planes.row}; }
    /// The last row becomes the one left over.
    void next() const {
        for (size_t i = 0; i < count; i++) {
            float* const plane = planes.data + ptrdiff_t(i) * planes.plane;
            std::copy_n(plane + rows * planes.row, planes.row, plane);
        }
    }

    tiles::Planes<Side> planes;
    ptrdiff_t rows;
    size_t count;
};

tiles::Layer pooled(const mtcnn::Parameters& layer) { return tiles::pooledLayer(layer.weight, layer.bias, layer.slope); }
tiles::Layer square(const mtcnn::Parameters& layer) { return tiles::squareLayer(layer.weight, layer.bias, layer.slope); }

/// A row of a level to the planes of its squares; null for one below the level.
void spreadRow(const float* pixels, int width, int y, const tiles::Planes<kInputSquare>& planes) {
    for (int c = 0; c < kColours; c++) {
        for (int x = 0; x < kInputSquare; x++) {
            float* const to = planes.at(c, y, x);
            ptrdiff_t square = 0;
            if (pixels != nullptr) {
                const float* from = pixels + kColours * x + c;
                for (; kInputSquare * square + x < width; square++, from += kColours * kInputSquare) to[square] = *from;
            }
            std::fill(to + square, to + planes.row, std::numeric_limits<float>::quiet_NaN());
        }
    }
}

/// Where a score was enough, in the order from top left to bottom right.
struct Found {
    int y, x;
    float score;
    Offsets offsets;

    bool operator<(const Found& other) const { return y != other.y ? y < other.y : x < other.x; }
};

} // namespace

PNet::PNet(const Safetensors& weights)
    : conv1(pooled(mtcnn::convolution(weights, "pnet", "1", 3, 10, 3))),
      conv2(square(mtcnn::convolution(weights, "pnet", "2", 10, 16, 3))),
      conv3(square(mtcnn::convolution(weights, "pnet", "3", 16, 32, 3))) {
    const mtcnn::Parameters last = mtcnn::heads(weights, "pnet.conv4", conv3.out, true, false);
    const at::Tensor matrix = last.weight.contiguous(), bias = last.bias.contiguous();
    headsBias.assign(bias.data_ptr<float>(), bias.data_ptr<float>() + bias.numel());
    for (size_t i = 0; i < heads.size(); i++) {
        const float* const row = matrix.data_ptr<float>() + ptrdiff_t(i) * conv3.out;
        heads[i].assign(row, row + conv3.out);
    }
    for (size_t c = 0; c < size_t(conv3.out); c++) faceness.push_back(heads[1][c] - heads[0][c]);
}

Candidate PNet::candidate(int x, int y, double scale, float score, const Offsets& offsets) {
    const auto edge = [&](int position) { return std::floor(float(position) / float(scale)); };
    return {{edge(kStride * x + 1), edge(kStride * y + 1), edge(kStride * x + kCell), edge(kStride * y + kCell), score}, offsets};
}

std::vector<Candidate> PNet::scan(const AreaResampler& level, int begin, int end, double scale, double threshold,
                                  Workspace& workspace) const {
    const auto squares = [](int positions, int side) { return ptrdiff_t((positions + side - 1) / side); };
    const size_t mark = workspace.mark();
    const int columns = gridSize(level.width()), firstInput = kStride * begin;
    const ptrdiff_t rows = squares(end - begin, kSquare);
    const ptrdiff_t rowSquares = std::max(squares(columns, kSquare) + 1, squares(level.width(), kInputSquare));
    const ptrdiff_t step = std::min((kBand + rowSquares - 1) / rowSquares, rows + 2); // rows of squares in a band
    const Band<kInputSquare> input(kColours, rowSquares, step, workspace);
    const Band<kSquare> first(conv1.out, rowSquares, step, workspace), second(conv2.out, rowSquares, step, workspace);
    const size_t chunkPlanes = tiles::Planes<kSquare>::count(conv3.out + 1); // the last for the scores
    float* const chunk = workspace.take(chunkPlanes * size_t{kChunk + tiles::kSlack}, 1);
    float* const pixels = workspace.take(size_t(level.width()), kColours);
    const tiles::Variant& kernels = tiles::variants().front();

    // exp() only for those that may pass.
    const float enough = float(std::log(threshold / (1 - threshold))) - 0.01f;
    std::vector<Found> found;
    const auto collect = [&](int x, int y, const float* last, ptrdiff_t plane) {
        if (x >= columns || y >= end) return;
        std::array<float, 6> answer;
        for (size_t i = 0; i < answer.size(); i++) {
            answer[i] = headsBias[i];
            for (size_t c = 0; c < heads[i].size(); c++) answer[i] += heads[i][c] * last[ptrdiff_t(c) * kSquare * kSquare * plane];
        }
        const float score = mtcnn::faceScore(answer.data());
        if (score >= float(threshold)) found.push_back({y, x, score, {answer[2], answer[3], answer[4], answer[5]}});
    };

    int nextInput = 0;
    // Each layer is a row of squares behind the one before it, whose next row it needs. `done` rows of the first one are done.
    for (ptrdiff_t done = 0; done < rows + 2; done += step) {
        const ptrdiff_t end1 = std::min(done + step, rows + 1), begin2 = std::max<ptrdiff_t>(done - 1, 0), end2 = std::min(done + step - 1, rows + 1),
                        begin3 = std::max<ptrdiff_t>(done - 2, 0), end3 = std::min(done + step - 2, rows);
        for (; nextInput < kInputSquare * end1 + 2; nextInput++) {
            const bool inside = firstInput + nextInput < level.height();
            if (inside) level.row(firstInput + nextInput, 1 / 128.0f, -127.5f / 128, workspace.sums, pixels);
            spreadRow(inside ? pixels : nullptr, level.width(), nextInput - kInputSquare * int(done), input.planes);
        }
        kernels.convolvePooled(conv1, {input.planes, first.from(1), 0, (end1 - done) * rowSquares});
        kernels.convolve(conv2, {first.from(begin2 - done + 1), second.from(begin2 - done + 2), 0, (end2 - begin2) * rowSquares}, workspace.scratch);
        const ptrdiff_t last = (end3 - begin3) * rowSquares;
        for (ptrdiff_t n = 0; n < last; n += kChunk) {
            const ptrdiff_t count = std::min(kChunk, last - n);
            const tiles::Planes<kSquare> third{chunk - n, kChunk + tiles::kSlack, 0}, scores{third.at(conv3.out, 0, 0), third.plane, 0};
            kernels.convolve(conv3, {second.from(begin3 - done + 2), third, n, count}, workspace.scratch);
            kernels.weigh(faceness, headsBias[1] - headsBias[0], {third, scores, n, count});
            for (int y = 0; y < kSquare; y++) {
                for (int x = 0; x < kSquare; x++) {
                    const float *const differences = scores.at(0, y, x), *const values = third.at(0, y, x);
                    for (ptrdiff_t i = n; i < n + count; i++) {
                        if (differences[i] < enough) continue;
                        const int row = int(begin3 + i / rowSquares), column = int(i % rowSquares);
                        collect(column * kSquare + x, begin + row * kSquare + y, values + i, third.plane);
                    }
                }
            }
        }
        input.next();
        first.next();
        second.next();
    }
    std::sort(found.begin(), found.end());
    std::vector<Candidate> candidates;
    for (const Found& one : found) candidates.push_back(candidate(one.x, one.y, scale, one.score, one.offsets));
    workspace.rewind(mark);
    return candidates;
}

} // namespace faiss_vision
