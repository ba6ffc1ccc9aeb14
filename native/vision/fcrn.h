#pragma once

#include <vector>

#include "vision/convolution.h"
#include "vision/fcrn_layers.h"
#include "vision/maps.h"
#include "vision/safetensors.h"

namespace faiss_vision {

/// The fully convolutional residual network for depth (Laina et al. 2016): ResNet-50 without its head and four up-projections.
/// Layers and names are those of the authors' TensorFlow network ResNet50UpProj.
class Fcrn {
public:
    static constexpr int kInWidth = 304, kInHeight = 228, kWidth = 160, kHeight = 128;

    /// Throws what Safetensors and Convolution::choose throw.
    Fcrn(const Safetensors& weights, Precision precision);

    /// One call at a time.
    /// @param pictures  n x 228 x 304 x 3 numbers from 0 to 255, RGB
    /// @param depths    n x 128 x 160
    void forward(const float* pictures, int64_t n, float* depths, const Observer& observer = nullptr);

private:
    using Layers = FcrnLayers<Convolution>;
    /// Doubles height and width: four convolutions whose results are interleaved stand for an unpooling with zeros and a 5 x 5
    /// convolution, for both branches at once; the first branch goes on through one more.
    struct UpProjection {
        Convolution evenEven, oddEven, evenOdd, oddOdd, conv;
    };
    class Loader;

    explicit Fcrn(const Loader& load);

    const products::Variant* variant_;
    Convolution conv1_;
    std::vector<std::vector<Layers::Bottleneck>> stages_;
    Convolution layer1_;
    std::vector<UpProjection> up_;
    Convolution prediction_;
    MapsMemory memory_;
};

} // namespace faiss_vision
