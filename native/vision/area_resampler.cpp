#include "vision/area_resampler.h"

#include <algorithm>

namespace faiss_vision {
namespace {

int windowBegin(int64_t i, int in, int out) { return int(i * in / out); }
int windowEnd(int64_t i, int in, int out) { return int(((i + 1) * in + out - 1) / out); }

} // namespace

AreaResampler::AreaResampler(const RgbPixels& picture, Rectangle source, int width, int height)
    : picture_(picture),
      source_(source),
      height_(height),
      narrow_(std::max(1, (source.width + width - 1) / width)),
      columns_(size_t(width)) {
    for (int x = 0; x < width; x++) {
        const int begin = windowBegin(x, source.width, width), count = windowEnd(x, source.width, width) - begin;
        columns_[size_t(x)] = {begin, count > narrow_ ? -1 : 0, 1.0f / float(count)};
    }
}

void AreaResampler::row(int y, float scale, float offset, std::vector<uint32_t>& sums, float* out) const {
    const size_t needed = size_t{3} * source_.width + kernels::kSlack;
    if (sums.size() < needed) sums.resize(needed);
    const int begin = windowBegin(y, source_.height, height_), end = windowEnd(y, source_.height, height_);
    kernels::resampleRow({picture_.at(source_.x, source_.y + begin), picture_.stride(), end - begin, source_.width,
                          columns_.data(), width(), narrow_, scale, offset, sums.data(), out});
}

} // namespace faiss_vision
