#include "vision/packed_conv.h"

#include <algorithm>

namespace faiss_vision {
namespace {

std::vector<float> padded(const at::Tensor& values, int count, float otherwise) {
    std::vector<float> result(size_t(count), otherwise);
    if (values.defined()) {
        const at::Tensor whole = values.contiguous();
        std::copy_n(whole.data_ptr<float>(), whole.numel(), result.begin());
    }
    return result;
}

} // namespace

PackedConv::PackedConv(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& slope)
    : kernelHeight_(int(weight.size(2))),
      kernelWidth_(int(weight.size(3))),
      inChannels_(int(weight.size(1))),
      channels_(int(weight.size(0))),
      padded_((channels_ + 15) / 16 * 16),
      bias_(padded(bias, padded_, 0.0f)),
      slope_(padded(slope, padded_, 1.0f)) {
    // (kernel row, kernel column, input channel) x output channel
    const at::Tensor matrix = weight.permute({2, 3, 1, 0}).contiguous();
    const float* from = matrix.data_ptr<float>();
    const int inputs = kernelHeight_ * inputsPerRow();
    weights_.resize(size_t(inputs) * padded_);
    float* to = weights_.data();
    for (int group = 0; group < groups(); group++) {
        const int width = groupWidth(group), begin = group * kGroup, filled = std::min(width, channels_ - begin);
        for (int i = 0; i < inputs; i++, to += width) std::copy_n(from + ptrdiff_t{i} * channels_ + begin, filled, to);
    }
}

} // namespace faiss_vision
