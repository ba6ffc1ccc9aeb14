#include "vision/padded_maps.h"

#include <algorithm>

#include <ATen/Parallel.h>

namespace faiss_vision {
namespace {

constexpr int64_t kWorthAThread = 300'000; // multiplications that take longer than waking a thread

int64_t grain(const PackedConv& conv, int64_t positions) {
    const int64_t each = int64_t{conv.kernelHeight()} * conv.inputsPerRow() * PackedConv::kGroup * positions;
    return std::max<int64_t>(1, kWorthAThread / each);
}

} // namespace

PaddedMaps::PaddedMaps(int64_t count, int height, int width, int channels)
    : count_(count), height_(height), width_(width), channels_(channels),
      // One position before the first row and one behind the last one complete the frame.
      mapStep_((ptrdiff_t{height + 2} * (width + 1) + 2) * channels),
      values_(size_t(count) * mapStep_ + size_t(kernels::kBlock) * 2 * channels + kernels::kSlack) {}

void PaddedMaps::clearRowEnds(int64_t map) {
    for (int y = 0; y < height_; y++) std::fill_n(at(map, y, width_), channels_, 0.0f);
}

void convolve(const PackedConv& conv, const PaddedMaps& in, int stride, int padding, bool accumulate, PaddedMaps& out) {
    const int size = conv.kernelHeight();
    const int height = (in.height() + 2 * padding - size) / stride + 1, width = (in.width() + 2 * padding - size) / stride + 1;
    const auto run = [&](int64_t group, int64_t map, int y, int x, int64_t positions) {
        const float* rows[8];
        for (int i = 0; i < size; i++) rows[i] = in.at(map, y * stride - padding + i, -padding) + ptrdiff_t{x} * stride * in.channels();
        kernels::convolve(conv, int(group),
                          {rows, ptrdiff_t{stride} * in.channels(), positions, out.at(map, y, 0) + ptrdiff_t{x} * out.channels() + group * PackedConv::kGroup,
                           out.channels(), accumulate});
    };
    // A group's weights are used for all maps before the next group's are read: a thread's share is a range of groups first.
    if (stride == 1 && padding == 1 && in.width() == out.width()) {
        // Rows of the same pitch make one long run; the positions between two rows are computed for nothing and cleared.
        const int64_t positions = int64_t{height - 1} * (width + 1) + width;
        const int64_t blocks = (positions + kernels::kBlock - 1) / kernels::kBlock, perGroup = blocks * in.count();
        at::parallel_for(0, conv.groups() * perGroup, grain(conv, kernels::kBlock), [&](int64_t begin, int64_t end) {
            while (begin < end) {
                const int64_t block = begin % blocks, count = std::min(end - begin, blocks - block), first = block * kernels::kBlock;
                run(begin / perGroup, begin / blocks % in.count(), 0, int(first), std::min(count * kernels::kBlock, positions - first));
                begin += count;
            }
        });
        for (int64_t map = 0; map < out.count(); map++) out.clearRowEnds(map);
    } else {
        const int64_t perGroup = in.count() * height;
        at::parallel_for(0, conv.groups() * perGroup, grain(conv, width), [&](int64_t begin, int64_t end) {
            for (; begin < end; begin++) run(begin / perGroup, begin / height % in.count(), int(begin % height), 0, width);
        });
    }
}

PaddedMaps maxPool3(const PaddedMaps& in) {
    PaddedMaps out(in.count(), (in.height() - 3) / 2 + 1, (in.width() - 3) / 2 + 1, in.channels());
    at::parallel_for(0, out.count() * out.height(), 4, [&](int64_t begin, int64_t end) {
        for (; begin < end; begin++) {
            const int64_t map = begin / out.height();
            const int y = int(begin % out.height());
            kernels::maxPool({in.at(map, 2 * y, 0), in.rowStep(), 3, in.width(), in.channels(), 3, 2, out.at(map, y, 0), out.width()});
        }
    });
    return out;
}

} // namespace faiss_vision
