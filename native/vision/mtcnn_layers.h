#pragma once

#include <cmath>
#include <string>

#include <ATen/ops/cat.h>

#include "vision/safetensors.h"

/// Reading the layers of MTCNN's networks. Names are those of the state dicts: "<net>.<layer>.weight", ...
namespace faiss_vision::mtcnn {

/// A layer as the file has it; the slope, of the PReLU that follows, is undefined for the last ones.
struct Parameters {
    at::Tensor weight, bias, slope; ///< out x in x height x width, out, out
};

inline at::Tensor bias(const Safetensors& weights, const std::string& layer, int64_t out) {
    return weights.tensor(layer + ".bias", {out});
}

/// A square convolution.
inline Parameters convolution(const Safetensors& weights, const std::string& net, const std::string& number, int64_t in,
                              int64_t out, int64_t size) {
    const std::string layer = net + ".conv" + number;
    return {weights.tensor(layer + ".weight", {out, in, size, size}), bias(weights, layer, out),
            weights.tensor(net + ".prelu" + number + ".weight", {out})};
}

/// The dense layer behind the last map, of side x side x channels.
inline Parameters flattened(const Safetensors& weights, const std::string& net, const std::string& number, int64_t side,
                            int64_t channels, int64_t out) {
    const std::string layer = net + ".dense" + number;
    // The trained order is column, row, channel; the maps here are row, column, channel.
    const at::Tensor weight =
        weights.tensor(layer + ".weight", {out, side * side * channels}).view({out, side, side, channels}).permute({0, 2, 1, 3});
    return {weight.reshape({out, side * side * channels, 1, 1}), bias(weights, layer, out),
            weights.tensor(net + ".prelu" + number + ".weight", {out})};
}

/// A network's last layers, side by side: scores, offsets and, where `landmarks` names them, landmarks.
inline Parameters heads(const Safetensors& weights, const std::string& layer, int64_t in, bool convolutional, bool landmarks) {
    std::vector<at::Tensor> matrices, biases;
    const auto add = [&](const std::string& suffix, int64_t out) {
        const std::string name = layer + suffix;
        const at::Tensor matrix =
            convolutional ? weights.tensor(name + ".weight", {out, in, 1, 1}) : weights.tensor(name + ".weight", {out, in});
        matrices.push_back(matrix.reshape({out, in, 1, 1}));
        biases.push_back(bias(weights, name, out));
    };
    add("_1", 2);
    add("_2", 4);
    if (landmarks) add("_3", 10);
    return {at::cat(matrices), at::cat(biases), {}};
}

/// Softmax of two values: the share of the second.
inline float faceScore(const float* logits) { return 1.0f / (1.0f + std::exp(logits[0] - logits[1])); }

} // namespace faiss_vision::mtcnn
