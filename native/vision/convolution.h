#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "vision/maps.h"
#include "vision/packed_conv.h"
#include "vision/parallel.h"
#include "vision/products.h"

namespace faiss_vision {

/// What a network multiplies in; on the CPU it adds up, and keeps its maps, in fp32 either way. Fp16 is for CUDA alone.
enum class Precision { Fp32, Bf16, Fp16 };

/// A convolution (or dense layer, one of 1 x 1) with everything behind it up to the activation: the one place where every
/// network's batch norms are folded in and weights are laid out for the processor, once.
/// fp32 runs on the processor's bf16 units where those are AMX (vision/products.h has the arithmetic), else on its vectors.
/// Without AMX, kernels of 3 x 3 are run by squares of results (kernels::winogradIn has the arithmetic).
class Convolution {
public:
    struct Geometry {
        int stride = 1;
        int top = 0, left = 0; ///< rows and columns of zeros before the first; what the result needs behind the last is zero too
        bool squares = true;   ///< false: never by squares, as there are too few results for more weights to be worth fewer products
    };
    /// y = scale * (convolution + bias) + offset, per channel.
    struct Affine {
        at::Tensor scale, offset;

        /// A batch norm's four tensors as one; each may be undefined: then it is 1 or 0.
        static Affine batchNorm(const at::Tensor& mean, const at::Tensor& variance, const at::Tensor& scale, const at::Tensor& offset,
                                double epsilon);
    };

    /// @param weight  out x in x height x width, any strides
    /// @param bias    out, or undefined
    /// @param affine  or undefined tensors
    /// @param slope   out: what a negative result is multiplied by: 0 is ReLU, 1 no activation; undefined is no activation
    Convolution(const at::Tensor& weight, const at::Tensor& bias, const Affine& affine, const at::Tensor& slope, Geometry geometry,
                Precision precision, const products::Variant* variant);

    /// What one thread needs for running any of them.
    class Scratch {
    public:
        /// Begins and ends what the processor needs around it.
        explicit Scratch(const products::Variant* variant);
        ~Scratch();
        Scratch(const Scratch&) = delete;
        Scratch& operator=(const Scratch&) = delete;

    private:
        friend class Convolution;
        const products::Variant* variant_;
        void reserveHalves(size_t numbers) { halves_.resize(std::max(halves_.size(), numbers + 32)); }
        /// In lines of the cache, as tiles want to be loaded.
        uint16_t* halves() { return reinterpret_cast<uint16_t*>((reinterpret_cast<uintptr_t>(halves_.data()) + 63) / 64 * 64); }

        /// Where a block's rows go, and what is added to them.
        struct Places {
            std::array<float*, 4 * products::kRows> out;
            std::array<const float*, 4 * products::kRows> add;
        };

        std::vector<float> row_, panel_, sums_, zeros_;
        std::vector<Places> places_; // of the blocks whose inputs lie here
        std::vector<uint16_t> halves_;
        int64_t round_ = -1; // whose inputs lie here
    };

    int channels() const { return channels_; }

    /// One step of a walk.
    /// @param out  the layer's channels; its positions are those that are computed
    /// @param add        null, or a map of the same size that is added before the activation (may be `out` itself)
    /// @param activated  false leaves the activation out
    void run(const MapsView& in, const MapsView& out, const MapsView* add, Steps::Walk& walk, Scratch& scratch, bool activated = true) const;

    /// The best variant for a precision; null where the processor's vectors are to do it.
    /// Throws ERR_UNSUPPORTED for bf16 where the processor has no such units.
    static const products::Variant* choose(Precision precision);

private:
    /// Whether it is computed square by square, of 2 x 2 results (vision/kernels.h).
    bool winograd() const { return products_ > 1; }
    int64_t depth() const { return winograd() ? inChannels_ : int64_t{inChannels_} * height_ * width_; }
    /// Floats from one row of gathered inputs to the next: rows whole pages apart would put each other out of the first-level cache.
    int64_t panelStep() const { return depth() % 512 == 0 ? depth() + 16 : depth(); }
    /// From the inputs of one product to the next one's.
    int64_t panelSize() const { return products::kRows * panelStep() + 16; }
    size_t chunks() const { return size_t(depth() + products::kDepth - 1) / products::kDepth; }
    /// Whether results at the edges leave out the products with the zeros beyond: of kernels of one row or column, results in the same
    /// column or row have them in the same places of the kernel, and are computed together.
    bool skips() const { return variant_ != nullptr && (height_ == 1) != (width_ == 1) && inChannels_ % products::kDepth == 0; }
    class Positions;
    struct Range {
        size_t begin, end; // begins with a chunk
    };
    void pack(const std::vector<at::Tensor>& matrices);
    void gather(const MapsView& in, const MapsView& out, int64_t first, int rows, size_t part, Scratch& scratch) const;
    void gatherSquares(const MapsView& in, const MapsView& out, int64_t first, int rows, Scratch& scratch) const;
    void place(const MapsView& out, const MapsView* add, int64_t first, int rows, Scratch::Places& places) const;
    Range used(const MapsView& in, const MapsView& out, int64_t first, int rows) const;
    void expect(const Scratch::Places& places, int rows, int group) const;
    void finish(const Scratch::Places& places, bool adds, bool activated, int rows, int group, const float* sums) const;

    int inChannels_, channels_, height_, width_;
    int products_; // of matrices: 16 by squares, else 1
    Geometry geometry_;
    const products::Variant* variant_;
    bool split_;
    struct Free {
        void operator()(uint16_t* memory) const;
    };
    std::unique_ptr<uint16_t, Free> weights_; // group after group, as products::multiply reads them
    std::vector<PackedConv> packed_;          // one for each product, where there is no variant
    std::vector<float> bias_, slope_;         // for whole groups
};

} // namespace faiss_vision
