// What a depth map costs in C++, in one process, in alternating rounds: the scaling of a picture, and the network with it.
//   depth_parts_bench weights.safetensors fp32|bf16 [rounds]
// Prints one line of JSON: the median of each part in milliseconds.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <omp.h>

#include "vision/depth_estimation.h"

using namespace faiss_vision;

namespace {

struct Part {
    const char* name;
    std::function<void()> work;
    std::vector<double> times;
};

double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    return values[values.size() / 2];
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 3) return std::fprintf(stderr, "usage: depth_parts_bench weights.safetensors fp32|bf16 [rounds]\n"), 2;
    // As vision.node does: torch takes some virtual machines for one core, and tells OpenMP so when it is first asked.
    const int threads = omp_get_max_threads();
    if (at::get_num_threads() != threads) at::set_num_threads(threads);
    DepthEstimation estimation(argv[1], std::string(argv[2]) == "bf16" ? Precision::Bf16 : Precision::Fp32);
    const int rounds = argc > 3 ? std::atoi(argv[3]) : 15;

    std::vector<uint8_t> bytes(size_t{1920} * 1080 * 4);
    std::minstd_rand engine(1);
    for (uint8_t& byte : bytes) byte = uint8_t(engine() >> 16);
    const auto picture = [&](int width, int height, int channels, PixelOrder order) {
        Image image;
        image.data = bytes.data();
        image.width = width;
        image.height = height;
        image.channels = channels;
        image.order = order;
        image.stride = size_t(width) * channels;
        return image;
    };
    std::vector<float> pixels, depths(size_t{DepthEstimation::kWidth} * DepthEstimation::kHeight);
    const auto scale = [&](const Image& image) { return [&, image] { DepthEstimation::scale(image, pixels); }; };
    const Image small = picture(304, 228, 3, PixelOrder::RGB);
    Part parts[] = {
        {"scale1920x1080", scale(picture(1920, 1080, 3, PixelOrder::RGB)), {}},
        {"scale1920x1080Bgr", scale(picture(1920, 1080, 3, PixelOrder::BGR)), {}},
        {"scale640x480", scale(picture(640, 480, 3, PixelOrder::RGB)), {}},
        {"scale304x228", scale(small), {}},
        {"network", [&] { estimation.estimate(small, depths.data()); }, {}},
    };
    for (int round = -3; round < rounds; round++) {
        for (Part& part : parts) {
            const auto start = std::chrono::steady_clock::now();
            part.work();
            const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
            if (round >= 0) part.times.push_back(time.count());
        }
    }
    std::printf("{");
    for (const Part& part : parts) std::printf("%s\"%s\": %.4f", &part == parts ? "" : ", ", part.name, median(part.times));
    std::printf("}\n");
}
