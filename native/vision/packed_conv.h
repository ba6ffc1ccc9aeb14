#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <ATen/core/Tensor.h>

namespace faiss_vision {

/// A convolution or dense layer with its activation, laid out for kernels::convolve:
/// output channels in groups of 32 (the last one 16 where that is enough), and within a group, for each of the
/// kernelHeight x kernelWidth x inChannels inputs, the weights of all the group's channels side by side.
class PackedConv {
public:
    static constexpr int kGroup = 32;

    /// @param weight  out x in x kernelHeight x kernelWidth
    /// @param bias    out, or undefined for none
    /// @param slope   out: what negative outputs are multiplied by (PReLU); or undefined for no activation
    PackedConv(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& slope);

    int kernelHeight() const { return kernelHeight_; }
    int kernelWidth() const { return kernelWidth_; }
    int inChannels() const { return inChannels_; }
    int channels() const { return channels_; }
    int inputsPerRow() const { return kernelWidth_ * inChannels_; }

    int groups() const { return (padded_ + kGroup - 1) / kGroup; }
    int groupWidth(int group) const { return std::min(kGroup, padded_ - group * kGroup); }
    const float* weights(int group) const { return weights_.data() + ptrdiff_t{group} * kGroup * kernelHeight_ * inputsPerRow(); }
    const float* bias(int group) const { return bias_.data() + group * kGroup; }
    const float* slope(int group) const { return slope_.data() + group * kGroup; }

private:
    int kernelHeight_, kernelWidth_, inChannels_, channels_;
    int padded_; // channels, rounded up to 16
    std::vector<float> weights_, bias_, slope_;
};

} // namespace faiss_vision
