#include "vision/resnet128.h"

#include <algorithm>
#include <string>

#include <ATen/ops/zeros.h>

#include "vision/parallel.h"

namespace faiss_vision {
namespace {

constexpr int64_t kBatch = 8;                              // bounds memory: about 2 MB per chip; enough to use weights often
constexpr float kMean[3] = {122.782f, 117.001f, 104.298f}; // RGB, of the pictures it was trained with

/// A convolution, the scale layer behind it folded in.
PackedConv convolution(const Safetensors& weights, const std::string& name, int64_t in, int64_t out, int64_t size, bool relu) {
    const at::Tensor filters = weights.tensor(name + "/conv/filters", {size, size, in, out}).permute({3, 2, 0, 1});
    const at::Tensor bias = weights.tensor(name + "/conv/bias", {out});
    const at::Tensor scale = weights.tensor(name + "/scale/weights", {out}), shift = weights.tensor(name + "/scale/biases", {out});
    return PackedConv(filters.mul(scale.view({out, 1, 1, 1})), bias.mul(scale).add(shift), relu ? at::zeros({out}) : at::Tensor());
}

/// The second convolution's activation is the ReLU behind the sum.
Resnet128::Residual residual(const Safetensors& weights, const std::string& name, int64_t channels) {
    return {convolution(weights, name + "/conv1", channels, channels, 3, true), convolution(weights, name + "/conv2", channels, channels, 3, true)};
}

Resnet128::ResidualDown residualDown(const Safetensors& weights, const std::string& name, int64_t in, int64_t out) {
    return {convolution(weights, name + "/conv1", in, out, 3, true), convolution(weights, name + "/conv2", out, out, 3, true)};
}

PaddedMaps pixels(const uint8_t* chips, int64_t n) {
    constexpr int size = Resnet128::kChipSize;
    PaddedMaps maps(n, size, size, 3);
    at::parallel_for(0, n * size, size, [&](int64_t begin, int64_t end) {
        for (; begin < end; begin++) {
            const uint8_t* from = chips + begin * size * 3;
            float* to = maps.at(begin / size, int(begin % size), 0);
            for (int x = 0; x < size; x++) {
                for (int c = 0; c < 3; c++) to[3 * x + c] = (float(from[3 * x + c]) - kMean[c]) / 255.0f;
            }
        }
    });
    return maps;
}

/// The mean of each 2 x 2 square, in maps of the given size and channels whose rest is zero.
PaddedMaps averagePool2(const PaddedMaps& in, int channels) {
    PaddedMaps out(in.count(), in.height() / 2, in.width() / 2, channels);
    for (int64_t map = 0; map < out.count(); map++) {
        for (int y = 0; y < out.height(); y++) {
            for (int x = 0; x < out.width(); x++) {
                const float *a = in.at(map, 2 * y, 2 * x), *b = in.at(map, 2 * y, 2 * x + 1);
                const float *c = in.at(map, 2 * y + 1, 2 * x), *d = in.at(map, 2 * y + 1, 2 * x + 1);
                float* to = out.at(map, y, x);
                for (int i = 0; i < in.channels(); i++) to[i] = (a[i] + b[i] + c[i] + d[i]) * 0.25f;
            }
        }
    }
    return out;
}

void forward(const Resnet128::Residual& layer, PaddedMaps& x, PaddedMaps& scratch) {
    convolve(layer.conv1, x, 1, 1, false, scratch);
    convolve(layer.conv2, scratch, 1, 1, true, x); // onto x itself: the sum needs no pass of its own
}

PaddedMaps forward(const Resnet128::ResidualDown& layer, const PaddedMaps& x) {
    const int size = (x.height() - 3) / 2 + 1;
    PaddedMaps inner(x.count(), size, size, layer.conv1.channels());
    convolve(layer.conv1, x, 2, 0, false, inner);
    // Where the convolution gives one row and column less than the pool, zeros stand in for them, and
    // the pool, which follows a ReLU, stays as it is there.
    PaddedMaps out = averagePool2(x, layer.conv2.channels());
    convolve(layer.conv2, inner, 1, 1, true, out);
    return out;
}

} // namespace

Resnet128::Resnet128(const Safetensors& weights)
    : conv32Down((weights.requireModel("resnet128"), convolution(weights, "conv32_down", 3, 32, 7, true))),
      conv32{residual(weights, "conv32_1", 32), residual(weights, "conv32_2", 32), residual(weights, "conv32_3", 32)},
      conv64Down(residualDown(weights, "conv64_down", 32, 64)),
      conv64{residual(weights, "conv64_1", 64), residual(weights, "conv64_2", 64), residual(weights, "conv64_3", 64)},
      conv128Down(residualDown(weights, "conv128_down", 64, 128)),
      conv128{residual(weights, "conv128_1", 128), residual(weights, "conv128_2", 128)},
      conv256Down(residualDown(weights, "conv256_down", 128, 256)),
      conv256{residual(weights, "conv256_1", 256), residual(weights, "conv256_2", 256)},
      conv256DownOut(residualDown(weights, "conv256_down_out", 256, 256)),
      fc(weights.tensor("fc", {256, 128}).t().reshape({128, 256, 1, 1}), at::Tensor(), at::Tensor()) {}

void Resnet128::forward(const uint8_t* chips, int64_t n, float* features) const {
    // Few chips: the threads share each layer. Many: each thread takes chips of its own and waits for nobody.
    const int64_t threads = at::get_num_threads(), batch = n < 2 * threads ? n : std::min(kBatch, (n + threads - 1) / threads);
    const auto part = [&](int64_t i) {
        forwardBatch(chips + i * batch * kChipSize * kChipSize * 3, std::min(batch, n - i * batch), features + i * batch * kDimension);
    };
    if (batch == n) return part(0);
    forEachPiece((n + batch - 1) / batch, [] { return 0; }, [&](int, int64_t i) { part(i); });
}

void Resnet128::forwardBatch(const uint8_t* chips, int64_t n, float* features) const {
    PaddedMaps stem(n, 72, 72, 32);
    convolve(conv32Down, pixels(chips, n), 2, 0, false, stem);
    const auto block = [n](const auto& layers, PaddedMaps& x) {
        PaddedMaps scratch(n, x.height(), x.width(), x.channels());
        for (const Residual& layer : layers) faiss_vision::forward(layer, x, scratch);
    };
    PaddedMaps x = maxPool3(stem); // 35 x 35 x 32
    block(conv32, x);
    x = faiss_vision::forward(conv64Down, x); // 17 x 17 x 64
    block(conv64, x);
    x = faiss_vision::forward(conv128Down, x); // 8 x 8 x 128
    block(conv128, x);
    x = faiss_vision::forward(conv256Down, x); // 4 x 4 x 256
    block(conv256, x);
    x = faiss_vision::forward(conv256DownOut, x); // 2 x 2 x 256

    PaddedMaps mean = averagePool2(x, 256); // 1 x 1 x 256
    PaddedMaps result(n, 1, 1, kDimension);
    convolve(fc, mean, 1, 0, false, result);
    for (int64_t i = 0; i < n; i++) std::copy_n(result.at(i, 0, 0), kDimension, features + i * kDimension);
}

} // namespace faiss_vision
