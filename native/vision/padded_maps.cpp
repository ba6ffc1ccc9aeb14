#include "vision/padded_maps.h"

#include <algorithm>

namespace faiss_vision {
namespace {

constexpr int64_t kPiece = 400'000; // multiplications in a piece of work: some microseconds

/// As many blocks of so many positions as make a piece.
int64_t blocksPerPiece(const PackedConv& conv, int64_t positions) {
    return std::max<int64_t>(1, kPiece / (positions * conv.kernelHeight() * conv.inputsPerRow() * PackedConv::kGroup));
}

} // namespace

PaddedMaps::PaddedMaps(int64_t count, int height, int width, int channels)
    : count_(count),
      height_(height),
      width_(width),
      channels_(channels),
      // One position before the first row and one behind the last one complete the frame.
      mapStep_((ptrdiff_t{height + 2} * (width + 1) + 2) * channels),
      values_(size_t(count) * mapStep_ + size_t(kernels::kBlock) * 2 * channels + kernels::kSlack) {}

void convolve(const PackedConv& conv, const PaddedMaps& in, int stride, int padding, bool accumulate, PaddedMaps& out,
              Steps::Walk& walk) {
    const int size = conv.kernelHeight();
    const int height = (in.height() + 2 * padding - size) / stride + 1, width = (in.width() + 2 * padding - size) / stride + 1;
    const auto run = [&](int64_t group, int64_t map, int y, int64_t x, int64_t positions) {
        const float* rows[8];
        for (int i = 0; i < size; i++) rows[i] = in.at(map, y * stride - padding + i, -padding) + x * stride * in.channels();
        float* to = out.at(map, y, 0) + x * out.channels() + group * PackedConv::kGroup;
        kernels::convolve(conv, int(group), {rows, ptrdiff_t{stride} * in.channels(), positions, to, out.channels(), accumulate});
    };
    // Group by group: its weights are used for all maps before the next group's are read.
    if (stride == 1 && padding == 1 && in.width() == out.width()) {
        // Rows that lie alike in both make one long run. The position between two rows is computed for nothing and set to zero again.
        const int64_t positions = int64_t{height - 1} * (width + 1) + width;
        const int64_t perPiece = blocksPerPiece(conv, kernels::kBlock) * kernels::kBlock;
        const int64_t pieces = (positions + perPiece - 1) / perPiece, perGroup = pieces * in.count();
        walk.run(conv.groups() * perGroup, [&](int64_t piece) {
            const int64_t group = piece / perGroup, map = piece / pieces % in.count();
            const int64_t begin = piece % pieces * perPiece, end = std::min(begin + perPiece, positions);
            run(group, map, 0, begin, end - begin);
            for (int64_t y = begin / (width + 1); y * (width + 1) + width < end; y++) {
                if (y * (width + 1) + width < begin) continue;
                std::fill_n(out.at(map, int(y), width) + group * PackedConv::kGroup, conv.groupWidth(int(group)), 0.0f);
            }
        });
    } else {
        const int64_t perPiece = blocksPerPiece(conv, width), pieces = (height + perPiece - 1) / perPiece,
                      perGroup = pieces * in.count();
        walk.run(conv.groups() * perGroup, [&](int64_t piece) {
            const int64_t begin = piece % pieces * perPiece, end = std::min<int64_t>(begin + perPiece, height);
            for (int64_t y = begin; y < end; y++) run(piece / perGroup, piece / pieces % in.count(), int(y), 0, width);
        });
    }
}

void maxPool3(const PaddedMaps& in, PaddedMaps& out, Steps::Walk& walk) {
    walk.run(out.count() * out.height(), [&](int64_t row) {
        const int64_t map = row / out.height();
        const int y = int(row % out.height());
        kernels::maxPool(
            {in.at(map, 2 * y, 0), in.rowStep(), 3, in.width(), in.channels(), 3, 2, out.at(map, y, 0), out.width()});
    });
}

void averagePool2(const PaddedMaps& in, PaddedMaps& out, Steps::Walk& walk) {
    walk.run(out.count() * out.height(), [&](int64_t row) {
        const int64_t map = row / out.height();
        const int y = int(row % out.height());
        for (int x = 0; x < out.width(); x++) {
            const float *a = in.at(map, 2 * y, 2 * x), *b = a + in.channels();
            const float *c = in.at(map, 2 * y + 1, 2 * x), *d = c + in.channels();
            float* to = out.at(map, y, x);
            for (int i = 0; i < in.channels(); i++) to[i] = (a[i] + b[i] + c[i] + d[i]) * 0.25f;
            std::fill(to + in.channels(), to + out.channels(), 0.0f);
        }
    });
}

} // namespace faiss_vision
