#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "vision/packed_conv.h"
#include "vision/padded_maps.h"
#include "vision/safetensors.h"

namespace faiss_vision {

/// The face recognition network of dlib (http://dlib.net/dnn_face_recognition_ex.cpp.html), a ResNet of 29 convolutions,
/// with the weights and the exact shapes of face-api's faceRecognitionNet.
struct Resnet128 {
    static constexpr int kDimension = 128, kChipSize = 150;

    /// Two 3 x 3 convolutions around which the input is carried and added. In the "down" ones the first has stride 2, and
    /// the input is averaged over 2 x 2 and gets zeros for the channels that it does not have.
    struct Residual {
        PackedConv conv1, conv2;
    };

    /// Throws what Safetensors throws.
    explicit Resnet128(const Safetensors& weights);

    /// @param chips     n x 150 x 150 x 3 bytes, RGB
    /// @param features  n x 128 numbers, not normalised
    void forward(const uint8_t* chips, int64_t n, float* features) const;

    PackedConv conv32Down;
    std::array<Residual, 3> conv32;
    Residual conv64Down;
    std::array<Residual, 3> conv64;
    Residual conv128Down;
    std::array<Residual, 2> conv128;
    Residual conv256Down;
    std::array<Residual, 2> conv256;
    Residual conv256DownOut;
    PackedConv fc;

private:
    void forwardBatch(const uint8_t* chips, int64_t n, float* features) const;
};

} // namespace faiss_vision
