#pragma once

#include <array>
#include <cstdint>

#include "vision/convolution.h"
#include "vision/maps.h"
#include "vision/safetensors.h"

namespace faiss_vision {

/// The face recognition network of dlib (http://dlib.net/dnn_face_recognition_ex.cpp.html), a ResNet of 29 convolutions,
/// with the weights and the exact shapes of face-api's faceRecognitionNet.
struct Resnet128 {
    static constexpr int kDimension = 128, kChipSize = 150;
    static constexpr float kMean[3] = {122.782f, 117.001f, 104.298f}; ///< RGB, of the pictures it was trained with

    /// Two 3 x 3 convolutions around which the input is carried and added. In the "down" ones the first has stride 2, and
    /// the input is averaged over 2 x 2 and gets zeros for the channels that it does not have.
    struct Residual {
        Convolution conv1, conv2;
    };

    /// Throws what Safetensors throws.
    explicit Resnet128(const Safetensors& weights);

    /// One call at a time.
    /// @param chips     n x 150 x 150 x 3 bytes, RGB
    /// @param features  n x 128 numbers, not normalised
    void forward(const uint8_t* chips, int64_t n, float* features);

    Convolution conv32Down;
    std::array<Residual, 3> conv32;
    Residual conv64Down;
    std::array<Residual, 3> conv64;
    Residual conv128Down;
    std::array<Residual, 2> conv128;
    Residual conv256Down;
    std::array<Residual, 2> conv256;
    Residual conv256DownOut;
    Convolution fc;

private:
    void forwardBatch(const uint8_t* chips, int64_t n, float* features);

    MapsMemory memory_;
};

} // namespace faiss_vision
