#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "vision/tiles.h"
#include "vision_support.h"

using namespace faiss_vision;

namespace {

/// Seeded numbers from -1 to 1.
at::Tensor random(const std::string& name, at::IntArrayRef shape) {
    const std::vector<float> numbers = test::seeded(name, size_t(at::empty(shape).numel()));
    return at::tensor(numbers).view(shape) * 2 - 1;
}

/// A map in squares, with what the loops may touch around it.
template <int Side>
struct Squares {
    Squares(int channels, int height, int width, float beyond)
        : rows((height + Side - 1) / Side), row((width + Side - 1) / Side), plane((rows + 1) * row + 1 + tiles::kSlack),
          numbers(tiles::Planes<Side>::count(channels) * size_t(plane), beyond) {}

    tiles::Planes<Side> planes() { return {numbers.data(), plane, row}; }
    void fill(const at::Tensor& map) {
        for (int c = 0; c < map.size(0); c++)
            for (int y = 0; y < map.size(1); y++)
                for (int x = 0; x < map.size(2); x++) at(c, y, x) = map[c][y][x].item<float>();
    }
    /// How far it is from a map, in the positions that it has.
    float worst(const at::Tensor& map) {
        float error = 0;
        for (int c = 0; c < map.size(0); c++)
            for (int y = 0; y < map.size(1); y++)
                for (int x = 0; x < map.size(2); x++) {
                    const float difference = std::abs(at(c, y, x) - map[c][y][x].item<float>());
                    if (!(difference <= error)) error = difference; // NaN too
                }
        return error;
    }
    float& at(int c, int y, int x) { return planes().at(c, y % Side, x % Side)[y / Side * row + x / Side]; }

    ptrdiff_t rows, row, plane;
    std::vector<float> numbers;
};

} // namespace

class Tiles : public testing::TestWithParam<tiles::Variant> {};

TEST_P(Tiles, convolveAsTorchDoes) {
    for (const auto& [in, out, height, width] : std::vector<std::array<int, 4>>{{10, 16, 6, 6}, {16, 32, 11, 90}, {3, 8, 7, 21}}) {
        const at::Tensor input = random("input", {in, height, width}), weight = random("weight", {out, in, 3, 3});
        const at::Tensor bias = random("bias", {out}), slope = random("slope", {out});
        Squares<4> from(in, height, width, 0), to(out, height, width, 0);
        from.fill(input);
        std::vector<float> scratch;
        GetParam().convolve(tiles::squareLayer(weight, bias, slope), {from.planes(), to.planes(), 0, from.rows * from.row}, scratch);
        const at::Tensor expected = at::prelu(at::conv2d(input.unsqueeze(0), weight, bias), slope)[0];
        EXPECT_LT(to.worst(expected), 1e-5 * std::sqrt(in * 9)) << in << " to " << out;

        const std::vector<float> weights(size_t(out), 0.5f);
        Squares<4> sums(1, height, width, 0);
        GetParam().weigh(weights, 2, {to.planes(), sums.planes(), 0, from.rows * from.row});
        EXPECT_LT(sums.worst(expected.sum(0, true) * 0.5 + 2), 1e-5 * std::sqrt(in * out * 9));
    }
}

TEST_P(Tiles, convolvePooledAsTorchDoesUpToTheEdge) {
    for (const auto& [height, width] : std::vector<std::array<int, 2>>{{12, 12}, {13, 12}, {17, 33}, {16, 200}, {9, 105}}) {
        const at::Tensor input = random("input", {3, height, width}), weight = random("weight", {10, 3, 3, 3});
        const at::Tensor bias = random("bias", {10}), slope = random("slope", {10});
        Squares<8> from(3, height, width, NAN);
        from.fill(input);
        Squares<4> to(10, from.rows * 4, from.row * 4, NAN);
        GetParam().convolvePooled(tiles::pooledLayer(weight, bias, slope), {from.planes(), to.planes(), 0, from.rows * from.row});
        const at::Tensor convolved = at::prelu(at::conv2d(input.unsqueeze(0), weight, bias), slope);
        const at::Tensor expected = at::max_pool2d(convolved, 2, 2, 0, 1, /*ceil_mode=*/true)[0];
        EXPECT_LT(to.worst(expected), 1e-5) << height << " x " << width;
        // Nothing that the next layer reads is NaN.
        for (ptrdiff_t plane = 0; plane < 160; plane++) {
            for (ptrdiff_t i = 0; i < from.rows * from.row; i++) ASSERT_TRUE(std::isfinite(to.numbers[size_t(plane * to.plane + i)]));
        }
    }
}

INSTANTIATE_TEST_SUITE_P(OnThisProcessor, Tiles, testing::ValuesIn(tiles::variants()),
                         [](const auto& info) { return std::string(info.param.name); });
