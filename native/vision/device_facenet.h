#pragma once

#include <vector>

#include "vision/device_convolution.h"
#include "vision/safetensors.h"

namespace faiss_vision {

/// vision/facenet.h's FaceNet in torch's own operations, for other devices than the CPU.
class DeviceFaceNet {
public:
    /// Throws what Safetensors throws. Within Device::run.
    DeviceFaceNet(const Safetensors& weights, const Device& device);

    /// @param chips  n x 160 x 160 x 3 bytes, RGB
    /// @return n x 512 numbers of type float (double where the device's is), each row of length 1
    at::Tensor forward(const at::Tensor& chips, const DeviceObserver& observer = nullptr) const;

private:
    using Conv = DeviceConvolution;
    /// Branches of 1 x 1 convolutions as one, which reads its input once.
    struct Block35 {
        Conv branches, branch1, branch2a, branch2b, up;
    };
    /// Blocks 17 and 8: a branch, and one that looks along the rows and then along the columns.
    struct LongBlock {
        Conv branches, across, down, up;
        int64_t inner;
    };
    struct Mixed6a {
        Conv branch0, branch1a, branch1b, branch1c;
    };
    struct Mixed7a {
        Conv branches, branch0, branch1, branch2a, branch2b;
    };
    class Loader;

    explicit DeviceFaceNet(const Loader& load);
    static at::Tensor run(const Block35& block, const at::Tensor& x);
    static at::Tensor run(const LongBlock& block, const at::Tensor& x);

    at::ScalarType type_;
    Conv conv1a_, conv2a_, conv2b_, conv3b_, conv4a_, conv4b_;
    std::vector<Block35> repeat1_;
    Mixed6a mixed6a_;
    std::vector<LongBlock> repeat2_;
    Mixed7a mixed7a_;
    std::vector<LongBlock> repeat3_; // the last one without activation: block8
    Conv lastLinear_;
};

} // namespace faiss_vision
