#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "vision/area_resampler.h"
#include "vision/kernels.h"
#include "vision_support.h"

using namespace faiss_vision;

namespace {

/// Seeded numbers from -1 to 1.
at::Tensor random(const std::string& name, at::IntArrayRef shape) {
    const at::Tensor values = at::empty(shape);
    const std::vector<float> numbers = test::seeded(name, size_t(values.numel()));
    std::copy(numbers.begin(), numbers.end(), values.data_ptr<float>());
    return values * 2 - 1;
}

/// Channels last, with the room behind the end that the kernels ask for.
std::vector<float> room(const at::Tensor& map, size_t slack) {
    const at::Tensor last = map.permute({1, 2, 0}).contiguous();
    std::vector<float> values(last.data_ptr<float>(), last.data_ptr<float>() + last.numel());
    values.resize(values.size() + slack, NAN); // what is read there must not matter
    return values;
}

float worst(const std::vector<float>& found, const at::Tensor& expected) {
    const at::Tensor last = expected.permute({1, 2, 0}).contiguous();
    float error = 0;
    for (int64_t i = 0; i < last.numel(); i++) {
        const float difference = std::abs(found[size_t(i)] - last.data_ptr<float>()[i]);
        if (!(difference <= error)) error = difference; // NaN too
    }
    return error;
}

} // namespace

class Kernels : public testing::TestWithParam<kernels::Variant> {};

TEST_P(Kernels, convolveAsTorchDoes) {
    struct Shape {
        int in, out, size, stride, height, width;
    };
    for (const Shape s :
         {Shape{3, 10, 3, 1, 5, 40}, Shape{10, 16, 3, 1, 4, 15}, Shape{16, 32, 3, 1, 9, 14}, Shape{32, 6, 1, 1, 1, 13},
          Shape{3, 28, 3, 1, 24, 24}, Shape{28, 48, 3, 1, 11, 11}, Shape{48, 64, 2, 1, 4, 4}, Shape{64, 128, 2, 1, 4, 4},
          Shape{3, 32, 7, 2, 23, 31}, Shape{32, 64, 3, 2, 11, 12}, Shape{576, 128, 1, 1, 1, 5}, Shape{256, 16, 1, 1, 1, 1}}) {
        const at::Tensor input = random("input", {s.in, s.height, s.width}),
                         weight = random("weight", {s.out, s.in, s.size, s.size});
        const at::Tensor bias = random("bias", {s.out}), slope = random("slope", {s.out});
        const at::Tensor expected = at::prelu(at::conv2d(input.unsqueeze(0), weight, bias, s.stride), slope)[0];
        const int height = int(expected.size(1)), width = int(expected.size(2));

        const PackedConv conv(weight, bias, slope);
        const std::vector<float> in = room(input, size_t(kernels::kBlock) * s.in * s.stride + kernels::kSlack);
        std::vector<float> out(size_t(height) * width * s.out + kernels::kSlack, NAN);
        for (int y = 0; y < height; y++) {
            const float* rows[7];
            for (int i = 0; i < s.size; i++) rows[i] = in.data() + ptrdiff_t{y * s.stride + i} * s.width * s.in;
            for (int group = 0; group < conv.groups(); group++) {
                float* to = out.data() + ptrdiff_t{y} * width * s.out + group * PackedConv::kGroup;
                GetParam().convolve(conv, group, {rows, ptrdiff_t{s.stride} * s.in, width, to, s.out});
            }
        }
        EXPECT_LT(worst(out, expected), 1e-5 * std::sqrt(s.in * s.size * s.size))
            << s.in << " to " << s.out << ", " << s.size << " x " << s.size;
    }
}

TEST_P(Kernels, convolveWritesNoFurther) {
    for (const int positions : {1, 3, 4, 5, 8, 12, 13, 17, 24, 32}) {
        const at::Tensor input = random("input", {32, 1, positions}), weight = random("weight", {32, 32, 1, 1});
        const PackedConv conv(weight, at::Tensor(), at::zeros({32}));
        const std::vector<float> in = room(input, size_t(kernels::kBlock) * 32 + kernels::kSlack);
        std::vector<float> out(size_t(positions + kernels::kBlock) * 32, NAN);
        const float* row = in.data();
        GetParam().convolve(conv, 0, {&row, 32, positions, out.data(), 32});
        EXPECT_LT(worst(out, at::relu(at::conv2d(input.unsqueeze(0), weight)[0])), 1e-5) << positions;
        EXPECT_TRUE(std::all_of(out.begin() + positions * 32, out.end(), [](float value) { return std::isnan(value); }))
            << positions;
    }
}

TEST_P(Kernels, maxPoolAsTorchDoes) {
    for (const int channels : {10, 28, 32, 48, 64}) {
        for (const int window : {2, 3}) {
            for (const int size : {4, 7, 8, 22, 23}) {
                const at::Tensor input = random("input", {channels, size, size + 1});
                const at::Tensor expected = at::max_pool2d(input, window, 2, 0, 1, /*ceil_mode=*/true);
                const int height = int(expected.size(1)), width = int(expected.size(2));
                const std::vector<float> in = room(input, kernels::kSlack);
                std::vector<float> out(size_t(height) * width * channels + kernels::kSlack, NAN);
                const ptrdiff_t step = ptrdiff_t{size + 1} * channels;
                for (int y = 0; y < height; y++) {
                    GetParam().maxPool({in.data() + 2 * y * step, step, std::min(window, size - 2 * y), size + 1, channels,
                                        window, 2, out.data() + ptrdiff_t{y} * width * channels, width});
                }
                EXPECT_EQ(worst(out, expected), 0) << channels << " channels, " << window << ", " << size;
            }
        }
    }
}

TEST_P(Kernels, resampleRowSumsWindowsOfEveryHeight) {
    // 300 rows of 255 do not fit 16 bits.
    for (const int rows : {1, 2, 3, 4, 5, 7, 8, 100, 257, 258, 300}) {
        const int width = 37;
        std::vector<uint8_t> pixels = test::noise("rows", rows, width);
        if (rows >= 257) std::fill(pixels.begin(), pixels.end(), 255);
        const std::vector<kernels::Column> columns = {{0, 0, 1.0f}, {1, -1, 0.5f}, {36, 0, 1.0f}};
        std::vector<uint32_t> sums(3 * width + kernels::kSlack);
        std::vector<float> out(9 + kernels::kSlack);
        GetParam().resampleRow(
            {pixels.data(), 3 * width, rows, width, columns.data(), 3, 1, 2.0f, -1.0f, sums.data(), out.data()});
        const auto mean = [&](int x, int c) {
            double sum = 0;
            for (int y = 0; y < rows; y++) sum += pixels[size_t(y * width + x) * 3 + c];
            return sum / rows;
        };
        for (int c = 0; c < 3; c++) {
            EXPECT_NEAR(out[c], 2 * mean(0, c) - 1, 1e-3) << rows;
            EXPECT_NEAR(out[3 + c], mean(1, c) + mean(2, c) - 1, 1e-3) << rows;
            EXPECT_NEAR(out[6 + c], 2 * mean(36, c) - 1, 1e-3) << rows;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(OnThisProcessor, Kernels, testing::ValuesIn(kernels::variants()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(AreaResampler, averagesAsTorchDoes) {
    const int width = 61, height = 47;
    const std::vector<uint8_t> bytes = test::noise("area", height, width);
    const RgbPixels picture(test::rgb(bytes, width, height));
    const at::Tensor whole =
        at::from_blob(const_cast<uint8_t*>(bytes.data()), {height, width, 3}, at::kByte).permute({2, 0, 1}).to(at::kFloat);
    for (const AreaResampler::Rectangle r :
         {AreaResampler::Rectangle{0, 0, width, height}, {5, 7, 20, 31}, {60, 46, 1, 1}, {3, 0, 13, 47}}) {
        for (const auto& [w, h] :
             std::vector<std::pair<int, int>>{{24, 24}, {48, 48}, {7, 5}, {1, 1}, {r.width, r.height}, {r.width + 1, 2}}) {
            const at::Tensor part = whole.slice(1, r.y, r.y + r.height).slice(2, r.x, r.x + r.width);
            const at::Tensor expected = (at::adaptive_avg_pool2d(part.contiguous(), {h, w}) - 127.5) * 0.0078125;
            const AreaResampler resampler(picture, r, w, h);
            std::vector<float> out(size_t{3} * w * h + kernels::kSlack);
            std::vector<uint32_t> sums;
            for (int y = 0; y < h; y++) resampler.row(y, 1 / 128.0f, -127.5f / 128, sums, out.data() + ptrdiff_t{3} * w * y);
            EXPECT_LT(worst(out, expected), 1e-6) << r.width << " x " << r.height << " to " << w << " x " << h;
        }
    }
}
