#pragma once

#include <cstddef>
#include <vector>

#include <ATen/core/Tensor.h>

/// Convolutions of 3 x 3 with few channels over large maps, a square of positions at a time (Winograd's minimal filtering: Lavin,
/// Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). Vectors hold the same position of many squares, so that
/// no lane is filled up and nothing is shuffled.
namespace faiss_vision::tiles {

/// Squares beyond the last one that functions may read and write.
constexpr int kSlack = 16;

/// Maps cut into squares of Side x Side positions: all that have the same channel and the same place in their square lie in one
/// plane, square by square, row of squares by row of squares.
template <int Side>
struct Planes {
    float* data;
    ptrdiff_t plane; ///< floats from one plane to the next
    ptrdiff_t row;   ///< squares from one row of them to the next

    static constexpr size_t count(int channels) { return size_t(channels) * Side * Side; }

    /// Those of the first square; y and x may lie in the next one.
    float* at(int channel, int y, int x) const {
        return data + ((ptrdiff_t{channel} * Side + y % Side) * Side + x % Side) * plane + y / Side * row + x / Side;
    }
};

/// Squares one after the other, whichever row they are in.
template <int SideIn>
struct Run {
    Planes<SideIn> in;
    Planes<4> out;
    ptrdiff_t first, count;
};

/// A layer's weights, in the order in which the loops read them, with its bias and the slopes of the PReLU behind it.
struct Layer {
    int in, out;
    std::vector<float> weights, bias, slope;
};

/// A convolution of 3 x 3 from three channels, PReLU, and a max pool of 2 x 2: from squares of 8 to squares of 4. By F(2, 3) down
/// the columns. What lies beyond the map's edge is NaN and counts for nothing; where there is nothing else the result is 0.
/// @param weight  out x 3 x 3 x 3, out even
Layer pooledLayer(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& slope);

/// A convolution of 3 x 3 and PReLU, from squares of 4 to squares of 4. By F(4 x 4, 3 x 3). What lies beyond the edge is finite.
/// @param weight  out x in x 3 x 3, out a multiple of 8
Layer squareLayer(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& slope);

/// The loops for one instruction set.
struct Variant {
    const char* name; ///< as in kernels.h
    void (*convolvePooled)(const Layer& layer, const Run<8>& run);
    /// @param scratch  grows when needed
    void (*convolve)(const Layer& layer, const Run<4>& run, std::vector<float>& scratch);
    /// One number for each position: bias + sum of channels x weights.
    void (*weigh)(const std::vector<float>& weights, float bias, const Run<4>& run);
};

/// Those that this processor can run, the fastest first.
const std::vector<Variant>& variants();

} // namespace faiss_vision::tiles
