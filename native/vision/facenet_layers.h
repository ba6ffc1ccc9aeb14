#pragma once

#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>

#include "vision/safetensors.h"

namespace faiss_vision {

/// FaceNet's layers, out of the state dict's names, for whatever computes a convolution.
/// @tparam Conv  Convolution or DeviceConvolution
template <class Conv>
struct FaceNetLayers {
    using Affine = typename Conv::Affine;
    using Geometry = typename Conv::Geometry;
    /// weight, bias (or undefined), what follows, whether a ReLU does
    using Make = std::function<Conv(const at::Tensor&, const at::Tensor&, const Affine&, bool, Geometry)>;

    /// Branches of 1 x 1 convolutions as one, which read their input once.
    struct Block35 {
        Conv branches, branch1, branch2a, branch2b, up;
    };
    /// Blocks 17 and 8: a branch, and one that looks along the rows and then along the columns.
    struct LongBlock {
        Conv branches, across, down, up;
    };
    struct Mixed6a {
        Conv branch0, branch1a, branch1b, branch1c;
    };
    struct Mixed7a {
        Conv branches, branch0, branch1, branch2a, branch2b;
    };

    Conv conv1a, conv2a, conv2b, conv3b, conv4a, conv4b;
    std::vector<Block35> repeat1;
    Mixed6a mixed6a;
    std::vector<LongBlock> repeat2;
    Mixed7a mixed7a;
    std::vector<LongBlock> repeat3; // the last one without activation: block8
    Conv lastLinear;

    /// Throws what Safetensors throws.
    static FaceNetLayers load(const Safetensors& weights, const Make& make) { return Loader{weights, make}.all(); }

private:
    struct Loader {
        const Safetensors& weights;
        const Make& make;

        /// "BasicConv2d": a convolution without bias, a batch norm and a ReLU. Several over the same input: their channels one after the other.
        Conv basic(const std::vector<std::string>& names, int in, int out, int height, int width, Geometry geometry = {}) const {
            std::vector<at::Tensor> kernels, scales, offsets;
            for (const std::string& name : names) {
                kernels.push_back(weights.tensor(name + ".conv.weight", {out, in, height, width}));
                const Affine norm = batchNorm(name + ".bn", out);
                scales.push_back(norm.scale);
                offsets.push_back(norm.offset);
            }
            // Not through at::cat where there is one: that would copy what is mapped.
            const at::Tensor kernel = kernels.size() == 1 ? kernels.front() : at::cat(kernels);
            return make(kernel, {}, {at::cat(scales), at::cat(offsets)}, true, geometry);
        }
        /// The 1 x 1 convolution at the end of a block: relu(x + scale * (convolution + bias)).
        Conv up(const std::string& name, int in, int out, double scale, bool relu) const {
            return make(weights.tensor(name + ".conv2d.weight", {out, in, 1, 1}), weights.tensor(name + ".conv2d.bias", {out}),
                        {at::full({out}, scale), at::Tensor()}, relu, {});
        }
        Conv linear(const std::string& name, const std::string& norm, int in, int out) const {
            return make(weights.tensor(name + ".weight", {out, in}).view({out, in, 1, 1}), {}, batchNorm(norm, out), false, {});
        }
        Affine batchNorm(const std::string& name, int channels) const {
            const auto get = [&](const char* what) { return weights.tensor(name + what, {channels}); };
            return Affine::batchNorm(get(".running_mean"), get(".running_var"), get(".weight"), get(".bias"), /*epsilon=*/0.001);
        }

        std::vector<Block35> blocks35() const {
            std::vector<Block35> blocks;
            for (int i = 0; i < 5; i++) {
                const std::string block = "repeat_1." + std::to_string(i), name = block + ".";
                const Geometry same{1, 1, 1};
                blocks.push_back({basic({name + "branch1.0", name + "branch2.0", name + "branch0"}, 256, 32, 1, 1),
                                  basic({name + "branch1.1"}, 32, 32, 3, 3, same), basic({name + "branch2.1"}, 32, 32, 3, 3, same),
                                  basic({name + "branch2.2"}, 32, 32, 3, 3, same), up(block, 96, 256, 0.17, true)});
            }
            return blocks;
        }
        LongBlock longBlock(const std::string& name, int channels, int inner, int length, double scale, bool relu) const {
            return {basic({name + ".branch1.0", name + ".branch0"}, channels, inner, 1, 1),
                    basic({name + ".branch1.1"}, inner, inner, 1, length, {1, 0, length / 2}),
                    basic({name + ".branch1.2"}, inner, inner, length, 1, {1, length / 2, 0}), up(name, 2 * inner, channels, scale, relu)};
        }
        std::vector<LongBlock> blocks17() const {
            std::vector<LongBlock> blocks;
            for (int i = 0; i < 10; i++) blocks.push_back(longBlock("repeat_2." + std::to_string(i), 896, 128, 7, 0.10, true));
            return blocks;
        }
        std::vector<LongBlock> blocks8() const {
            std::vector<LongBlock> blocks;
            for (int i = 0; i < 5; i++) blocks.push_back(longBlock("repeat_3." + std::to_string(i), 1792, 192, 3, 0.20, true));
            blocks.push_back(longBlock("block8", 1792, 192, 3, 1.0, false));
            return blocks;
        }
        FaceNetLayers all() const {
            weights.requireModel("facenet");
            return {basic({"conv2d_1a"}, 3, 32, 3, 3, {2}),
                    basic({"conv2d_2a"}, 32, 32, 3, 3),
                    basic({"conv2d_2b"}, 32, 64, 3, 3, {1, 1, 1}),
                    basic({"conv2d_3b"}, 64, 80, 1, 1),
                    basic({"conv2d_4a"}, 80, 192, 3, 3),
                    basic({"conv2d_4b"}, 192, 256, 3, 3, {2}),
                    blocks35(),
                    {basic({"mixed_6a.branch0"}, 256, 384, 3, 3, {2}), basic({"mixed_6a.branch1.0"}, 256, 192, 1, 1),
                     basic({"mixed_6a.branch1.1"}, 192, 192, 3, 3, {1, 1, 1}), basic({"mixed_6a.branch1.2"}, 192, 256, 3, 3, {2})},
                    blocks17(),
                    {basic({"mixed_7a.branch0.0", "mixed_7a.branch1.0", "mixed_7a.branch2.0"}, 896, 256, 1, 1),
                     basic({"mixed_7a.branch0.1"}, 256, 384, 3, 3, {2}), basic({"mixed_7a.branch1.1"}, 256, 256, 3, 3, {2}),
                     basic({"mixed_7a.branch2.1"}, 256, 256, 3, 3, {1, 1, 1}), basic({"mixed_7a.branch2.2"}, 256, 256, 3, 3, {2})},
                    blocks8(),
                    linear("last_linear", "last_bn", 1792, 512)};
        }
    };
};

} // namespace faiss_vision
