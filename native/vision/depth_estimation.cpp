#include "vision/depth_estimation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "vision/area_resampler.h"
#include "vision/kernels.h"
#include "vision/parallel.h"

namespace faiss_vision {
namespace {

constexpr int64_t kRowsAtOnce = 16;

/// Where one output pixel of a side that grows lies between two source pixels.
struct Between {
    int first, second;
    float share; // of the second

    Between(int i, int in, int out) {
        const double centre = std::clamp((i + 0.5) * in / out - 0.5, 0.0, double(in - 1));
        first = int(centre);
        second = std::min(first + 1, in - 1);
        share = float(centre - first);
    }
};

/// height x width x 3 numbers, each side at most the network's, to the network's size.
void enlarge(const std::vector<float>& from, int width, int height, float* to) {
    std::vector<Between> columns;
    columns.reserve(Fcrn::kInWidth);
    for (int x = 0; x < Fcrn::kInWidth; x++) columns.emplace_back(x, width, Fcrn::kInWidth);
    at::parallel_for(0, Fcrn::kInHeight, kRowsAtOnce, [&](int64_t begin, int64_t end) {
        for (int64_t y = begin; y < end; y++) {
            const Between row(int(y), height, Fcrn::kInHeight);
            const float* const above = from.data() + ptrdiff_t{3} * width * row.first;
            const float* const below = from.data() + ptrdiff_t{3} * width * row.second;
            float* out = to + ptrdiff_t{3} * Fcrn::kInWidth * y;
            for (const Between& column : columns) {
                for (int c = 0; c < 3; c++) {
                    const int left = 3 * column.first + c, right = 3 * column.second + c;
                    const float top = above[left] + (above[right] - above[left]) * column.share;
                    const float bottom = below[left] + (below[right] - below[left]) * column.share;
                    *out++ = top + (bottom - top) * row.share;
                }
            }
        }
    });
}

} // namespace

DepthEstimation::DepthEstimation(const std::string& path, Precision precision, const std::shared_ptr<const Device>& device)
    : DepthEstimation(Safetensors(path), precision, device) {}

DepthEstimation::DepthEstimation(const Safetensors& weights, Precision precision, const std::shared_ptr<const Device>& device)
    : near_(weights.metadata("near")), source_(weights.metadata("source")) {
    if (device == nullptr) {
        network_.emplace(weights, precision);
    } else {
        device_ = std::make_unique<DeviceDepth>(weights, device);
    }
}

void DepthEstimation::scale(const Image& image, std::vector<float>& pixels) {
    // Channels do not meet, so a camera's blue and red change places in the small picture instead of the large one.
    const bool swapped = image.channels == 3 && image.order == PixelOrder::BGR;
    Image source = image;
    if (swapped) source.order = PixelOrder::RGB;
    const RgbPixels picture(source);
    const int width = std::min(picture.width(), Fcrn::kInWidth), height = std::min(picture.height(), Fcrn::kInHeight);
    const bool grows = width < Fcrn::kInWidth || height < Fcrn::kInHeight;
    pixels.resize(size_t{3} * Fcrn::kInWidth * Fcrn::kInHeight);
    std::vector<float> small(grows ? size_t{3} * width * height : 0);
    float* const averaged = grows ? small.data() : pixels.data();

    const AreaResampler resampler(picture, {0, 0, picture.width(), picture.height()}, width, height);
    at::parallel_for(0, height, kRowsAtOnce, [&](int64_t begin, int64_t end) {
        std::vector<uint32_t> sums;
        std::vector<float> row(size_t{3} * width + kernels::kSlack); // of its own: the slack would reach into another thread's row
        for (int64_t y = begin; y < end; y++) {
            resampler.row(int(y), 1, 0, sums, row.data());
            std::copy_n(row.data(), size_t{3} * width, averaged + ptrdiff_t{3} * width * y);
        }
    });
    if (grows) enlarge(small, width, height, pixels.data());
    for (size_t i = 0; swapped && i < pixels.size(); i += 3) std::swap(pixels[i], pixels[i + 2]);
}

void DepthEstimation::estimate(const Image& image, float* depths) { estimate(std::vector<Image>{image}, {depths}); }

void DepthEstimation::estimate(const std::vector<Image>& images, const std::vector<float*>& depths) {
    if (device_ != nullptr) return device_->estimate(images, depths);
    for (size_t i = 0; i < images.size(); i++) {
        scale(images[i], pixels_);
        network_->forward(pixels_.data(), 1, depths[i]);
    }
}

} // namespace faiss_vision
