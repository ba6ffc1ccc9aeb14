#include "vision/maps.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "vision/kernels.h"

namespace faiss_vision {

void MapsMemory::Free::operator()(float* memory) const { std::free(memory); }

MapsView MapsMemory::take(int64_t count, int height, int width, int channels) {
    constexpr size_t kLine = 64;
    const MapsView view{nullptr, count, height, width, channels, ptrdiff_t{height} * width * channels, ptrdiff_t{width} * channels, channels};
    const size_t bytes = (size_t(count) * size_t(view.mapStep) * sizeof(float) / kLine + 2) * kLine; // and a line that kernels may touch
    if (next_ == pieces_.size()) pieces_.emplace_back();
    Piece& piece = pieces_[next_++];
    if (piece.bytes < bytes) {
        piece = Piece();
        piece.memory.reset(static_cast<float*>(std::aligned_alloc(kLine, bytes)));
        if (piece.memory == nullptr) throw std::bad_alloc();
        piece.bytes = bytes;
    }
    MapsView result = view;
    result.data = piece.memory.get();
    return result;
}

void maxPool3(const MapsView& in, const MapsView& out, Steps::Walk& walk) {
    walk.run(out.count * out.height, [&](int64_t piece) {
        const int64_t map = piece / out.height;
        const int y = int(piece % out.height);
        kernels::PoolRow row{in.at(map, 2 * y, 0), in.rowStep, std::min(3, in.height - 2 * y), in.width, in.channels, 3, 2, out.at(map, y, 0), out.width};
        row.step = in.step;
        row.outStep = out.step;
        kernels::maxPool(row);
    });
}

void averagePool(const MapsView& in, const MapsView& out, Steps::Walk& walk) {
    walk.run(in.count, [&](int64_t map) {
        float* const to = out.at(map, 0, 0);
        std::fill_n(to, in.channels, 0.0f);
        for (int y = 0; y < in.height; y++) {
            for (int x = 0; x < in.width; x++) {
                const float* const from = in.at(map, y, x);
                for (int c = 0; c < in.channels; c++) to[c] += from[c];
            }
        }
        const float factor = 1.0f / float(in.height * in.width);
        for (int c = 0; c < in.channels; c++) to[c] *= factor;
    });
}

} // namespace faiss_vision
