#include "vision/convolution.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include <ATen/Parallel.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "error.h"

namespace faiss_vision {
namespace {

using products::kChannels;
using products::kDepth;

// Of the layers that are computed by squares: channels, and weights of one place of the kernel. More are seldom used often enough.
constexpr int64_t kLeastWinograd = 10, kMostWinograd = 70'000;

std::vector<float> filled(const at::Tensor& values, size_t count, float otherwise) {
    std::vector<float> result(count, otherwise);
    if (values.defined()) {
        const at::Tensor whole = values.contiguous();
        std::copy_n(whole.data_ptr<float>(), whole.numel(), result.begin());
    }
    return result;
}

/// Fewer products must be worth more than what is around them, on units that are not made for products.
bool suitsWinograd(const at::Tensor& weight, const Convolution::Geometry& geometry, const products::Variant* variant) {
    const int64_t out = weight.size(0), in = weight.size(1);
    return weight.size(2) == 3 && weight.size(3) == 3 && geometry.stride == 1 && geometry.squares && std::min(in, out) >= kLeastWinograd &&
           in * out <= kMostWinograd && (variant == nullptr || !variant->splits);
}

/// What the inputs that kernels::winogradIn() puts together are multiplied by: 16 matrices of out x in.
std::vector<at::Tensor> winogradMatrices(const at::Tensor& weight) {
    const at::Tensor spread = at::tensor({1.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, -0.5, 0.5, 0.0, 0.0, 1.0}, at::kDouble).view({4, 3});
    const at::Tensor squares = at::matmul(at::matmul(spread, weight.to(at::kDouble)), spread.t()); // out x in x 4 x 4
    const at::Tensor matrices = squares.permute({2, 3, 0, 1}).reshape({16, weight.size(0), weight.size(1)}).to(at::kFloat);
    return matrices.unbind();
}

} // namespace

void Convolution::Free::operator()(uint16_t* memory) const { std::free(memory); }

Convolution::Affine Convolution::Affine::batchNorm(const at::Tensor& mean, const at::Tensor& variance, const at::Tensor& scale,
                                                   const at::Tensor& offset, double epsilon) {
    at::Tensor factor = variance.to(at::kDouble).add(epsilon).rsqrt();
    if (scale.defined()) factor = factor.mul(scale);
    at::Tensor shift = mean.to(at::kDouble).mul(factor).neg();
    if (offset.defined()) shift = shift.add(offset);
    return {factor.to(at::kFloat), shift.to(at::kFloat)};
}

const products::Variant* Convolution::choose(Precision precision) {
    if (precision == Precision::Fp16) throw Error("ERR_UNSUPPORTED", "`precision` 'fp16' is for CUDA alone: take 'bf16' or 'fp32' on the processor");
    const auto& variants = products::variants();
    if (precision == Precision::Fp32) return !variants.empty() && variants.front().splits ? &variants.front() : nullptr;
    if (variants.empty()) {
        throw Error("ERR_UNSUPPORTED", "`precision` 'bf16' needs a processor with AVX-512 BF16 or AMX, and this one has neither: leave it at 'fp32'");
    }
    return &variants.front();
}

Convolution::Convolution(const at::Tensor& weight, const at::Tensor& bias, const Affine& affine, const at::Tensor& slope,
                         Geometry geometry, Precision precision, const products::Variant* variant)
    : inChannels_(int(weight.size(1))),
      channels_(int(weight.size(0))),
      height_(int(weight.size(2))),
      width_(int(weight.size(3))),
      products_(suitsWinograd(weight, geometry, variant) ? 16 : 1),
      geometry_(geometry),
      variant_(variant),
      split_(precision == Precision::Fp32) {
    const size_t padded = size_t(channels_ + kChannels - 1) / kChannels * kChannels;
    bias_ = filled(bias, padded, 0);
    slope_ = filled(slope, padded, 1);
    const std::vector<float> scale = filled(affine.scale, padded, 1), offset = filled(affine.offset, padded, 0);
    for (size_t i = 0; i < padded; i++) bias_[i] = bias_[i] * scale[i] + offset[i];
    const at::Tensor scaled = affine.scale.defined() ? weight.mul(affine.scale.view({channels_, 1, 1, 1})) : weight;
    // In the order in which gather() puts the inputs: kernel row, kernel column, channel.
    std::vector<at::Tensor> matrices = {scaled.permute({0, 2, 3, 1}).reshape({channels_, -1})};
    if (winograd()) matrices = winogradMatrices(scaled);
    if (variant_ != nullptr) pack(matrices);
    else for (const at::Tensor& matrix : matrices) packed_.emplace_back(matrix.view({channels_, depth(), 1, 1}), at::Tensor(), at::Tensor());
}

/// Pairs of inputs beside one another.
/// @param matrices  of channels x depth each
void Convolution::pack(const std::vector<at::Tensor>& matrices) {
    constexpr size_t kPage = 2 << 20;
    const size_t chunk = products::chunkNumbers(split_), groups = bias_.size() / kChannels;
    const size_t bytes = matrices.size() * groups * chunks() * chunk * sizeof(uint16_t), alignment = bytes >= kPage ? kPage : 64;
    weights_.reset(static_cast<uint16_t*>(std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)));
    if (weights_ == nullptr) throw std::bad_alloc();
#ifdef __linux__
    if (alignment == kPage) ::madvise(weights_.get(), bytes, MADV_HUGEPAGE);
#endif
    at::parallel_for(0, int64_t(matrices.size() * groups), 1, [&](int64_t begin, int64_t end) {
        for (int64_t part = begin; part < end; part++) {
            const at::Tensor& matrix = matrices[size_t(part) / groups];
            uint16_t* const base = weights_.get() + size_t(part) * chunks() * chunk;
            std::fill_n(base, chunks() * chunk, uint16_t{0});
            const int first = int(size_t(part) % groups) * kChannels, count = std::min(kChannels, channels_ - first);
            const float* const from = matrix.data_ptr<float>() + first * matrix.stride(0);
            for (int64_t k = 0; k < depth(); k++) {
                uint16_t* const to = base + size_t(k / kDepth) * chunk + size_t(k % kDepth / 2) * 32 + size_t(k % 2);
                for (int i = 0; i < count; i++) {
                    const float value = from[i * matrix.stride(0) + k * matrix.stride(1)];
                    const uint16_t high = products::toBf16(value);
                    uint16_t* const place = to + i / 16 * 512 + i % 16 * 2;
                    *place = high;
                    if (split_) place[1024] = products::toBf16(value - products::fromBf16(high));
                }
            }
        }
    });
}

} // namespace faiss_vision
