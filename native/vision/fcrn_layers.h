#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "vision/safetensors.h"

namespace faiss_vision {

/// Makes FCRN's layers, out of the authors' variables' names, for whatever computes a convolution.
/// @tparam Conv  Convolution or DeviceConvolution
template <class Conv>
class FcrnLayers {
public:
    using Affine = typename Conv::Affine;
    /// weight, bias (or undefined), what follows, whether a ReLU does
    using Make = std::function<Conv(const at::Tensor&, const at::Tensor&, const Affine&, bool, typename Conv::Geometry)>;

    static constexpr std::array<int, 4> kBlocks = {3, 4, 6, 3};
    static constexpr std::array<const char*, 4> kUpNames = {"2x", "4x", "8x", "16x"};

    struct Bottleneck {
        std::optional<Conv> branch1; // where the input is not carried on as it is
        Conv a, b, c;
    };

    /// Throws what Safetensors throws.
    FcrnLayers(const Safetensors& weights, Make make) : weights_(weights), make_(std::move(make)) { weights.requireModel("fcrn"); }

    Conv conv1() const { return convolution("conv1", "bn_conv1", 3, 64, 7, 2, true, true); }
    std::vector<std::vector<Bottleneck>> stages() const {
        std::vector<std::vector<Bottleneck>> stages;
        int in = 64;
        for (int stage = 0; stage < 4; stage++) {
            const int inner = 64 << stage, out = 4 * inner;
            stages.emplace_back();
            for (int i = 0; i < kBlocks[size_t(stage)]; i++, in = out) {
                const std::string number = std::to_string(stage + 2) + char('a' + i) + "_branch";
                const auto layer = [&](const char* branch, int from, int to, int size, int by, bool relu) {
                    return convolution("res" + number + branch, "bn" + number + branch, from, to, size, by, false, relu);
                };
                const int stride = i == 0 && stage > 0 ? 2 : 1;
                stages.back().push_back({std::nullopt, layer("2a", in, inner, 1, stride, true), layer("2b", inner, inner, 3, 1, true),
                                         layer("2c", inner, out, 1, 1, true)});
                if (i == 0) stages.back().back().branch1.emplace(layer("1", in, out, 1, stride, false));
            }
        }
        return stages;
    }
    Conv layer1() const { return convolution("layer1", "layer1_BN", 2048, 1024, 1, 1, true, false); }
    /// The one of an up-projection through which its first branch goes on.
    Conv upConv(const std::string& name, int channels) const {
        return convolution(name + "_Conv", name + "_BN", channels, channels, 3, 1, true, true);
    }
    Conv prediction() const { return convolution("ConvPred", "", 64, 1, 3, 1, true, true); }

    at::Tensor kernel(const std::string& name, int height, int width, int in, int out) const {
        return weights_.tensor(name + "/weights", {height, width, in, out}).permute({3, 2, 0, 1});
    }
    at::Tensor bias(const std::string& name, int out) const { return weights_.tensor(name + "/biases", {out}); }
    Affine batchNorm(const std::string& name, int channels) const {
        const auto get = [&](const char* what) { return weights_.tensor(name + what, {channels}); };
        return Affine::batchNorm(get("/mean"), get("/variance"), get("/scale"), get("/offset"), /*epsilon=*/0.0001);
    }

private:
    /// @param norm  name of the batch norm behind it, empty for none
    Conv convolution(const std::string& name, const std::string& norm, int in, int out, int size, int stride, bool biased,
                     bool relu) const {
        const int padding = (size - 1) / 2;
        return make_(kernel(name, size, size, in, out), biased ? bias(name, out) : at::Tensor(), norm.empty() ? Affine{} : batchNorm(norm, out), relu,
                    {stride, padding, padding});
    }

    const Safetensors& weights_;
    const Make make_;
};

} // namespace faiss_vision
