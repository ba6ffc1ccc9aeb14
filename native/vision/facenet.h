#pragma once

#include <cstdint>

#include "vision/convolution.h"
#include "vision/facenet_layers.h"
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
    using Layers = FaceNetLayers<Convolution>;

    void forwardBatch(const uint8_t* chips, int64_t n, float* features, const Observer& observer);
    static void run(const Layers::Block35& block, const MapsView& x, const MapsView& inner, Steps::Walk& walk, Convolution::Scratch& scratch);
    static void run(const Layers::LongBlock& block, const MapsView& x, const MapsView& inner, Steps::Walk& walk, Convolution::Scratch& scratch);

    const products::Variant* variant_;
    Layers layers_;
    MapsMemory memory_;
};

} // namespace faiss_vision
