#pragma once

#include <cstdint>
#include <vector>

#include "vision/convolution.h"
#include "vision/maps.h"
#include "vision/safetensors.h"

namespace faiss_vision {

/// FaceNet (Schroff et al. 2015) as David Sandberg trained it: Inception-ResNet v1 (Szegedy et al. 2016) with 512 features of
/// length 1. Layers and names are those of facenet-pytorch's InceptionResnetV1.
class FaceNet {
public:
    static constexpr int kDimension = 512, kChipSize = 160;

    /// Throws what Safetensors and Convolution::choose throw.
    FaceNet(const Safetensors& weights, Precision precision);

    /// One call at a time.
    /// @param chips     n x 160 x 160 x 3 bytes, RGB
    /// @param features  n x 512
    void forward(const uint8_t* chips, int64_t n, float* features, const Observer& observer = nullptr);

private:
    /// Branches of 1 x 1 convolutions as one, which read their input once.
    struct Block35 {
        Convolution branches, branch1, branch2a, branch2b, up;
    };
    /// Blocks 17 and 8: a branch, and one that looks along the rows and then along the columns.
    struct LongBlock {
        Convolution branches, across, down, up;
    };
    struct Mixed6a {
        Convolution branch0, branch1a, branch1b, branch1c;
    };
    struct Mixed7a {
        Convolution branches, branch0, branch1, branch2a, branch2b;
    };
    class Loader;

    FaceNet(const Loader& load);
    void forwardBatch(const uint8_t* chips, int64_t n, float* features, const Observer& observer);
    static void run(const Block35& block, const MapsView& x, const MapsView& inner, Steps::Walk& walk, Convolution::Scratch& scratch);
    static void run(const LongBlock& block, const MapsView& x, const MapsView& inner, Steps::Walk& walk, Convolution::Scratch& scratch);

    const products::Variant* variant_;
    Convolution conv1a_, conv2a_, conv2b_, conv3b_, conv4a_, conv4b_;
    std::vector<Block35> repeat1_;
    Mixed6a mixed6a_;
    std::vector<LongBlock> repeat2_;
    Mixed7a mixed7a_;
    std::vector<LongBlock> repeat3_; // the last one without activation: block8
    Convolution lastLinear_;
    MapsMemory memory_;
};

} // namespace faiss_vision
