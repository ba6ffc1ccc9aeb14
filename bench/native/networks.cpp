// One network's forward pass, in milliseconds, driven by bench/networks.mjs:
//   networks_bench facenet|fcrn FILE.safetensors fp32|bf16 COUNT
// A line on stdin is a round, its time a line on stdout.
#include <chrono>
#include <functional>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>
#include <omp.h>

#include "vision/facenet.h"
#include "vision/fcrn.h"

using namespace faiss_vision;

int main(int argc, char** argv) {
    if (argc != 5) return 2;
    at::get_num_threads(); // sets its own number the first time
    omp_set_num_threads(int(std::thread::hardware_concurrency())); // as the addon does
    const std::string network = argv[1];
    const Precision precision = std::string(argv[3]) == "bf16" ? Precision::Bf16 : Precision::Fp32;
    const int64_t count = std::stoll(argv[4]);
    const Safetensors weights(argv[2]);
    std::function<void()> forward;
    if (network == "facenet") {
        auto net = std::make_shared<FaceNet>(weights, precision);
        auto chips = std::make_shared<std::vector<uint8_t>>(size_t(count) * FaceNet::kChipSize * FaceNet::kChipSize * 3);
        for (size_t i = 0; i < chips->size(); i++) (*chips)[i] = uint8_t(i * 2654435761u >> 16);
        auto features = std::make_shared<std::vector<float>>(size_t(count) * FaceNet::kDimension);
        forward = [=] { net->forward(chips->data(), count, features->data()); };
    } else {
        auto net = std::make_shared<Fcrn>(weights, precision);
        auto pictures = std::make_shared<std::vector<float>>(size_t(count) * Fcrn::kInWidth * Fcrn::kInHeight * 3);
        for (size_t i = 0; i < pictures->size(); i++) (*pictures)[i] = float(uint8_t(i * 2654435761u >> 16));
        auto depths = std::make_shared<std::vector<float>>(size_t(count) * Fcrn::kWidth * Fcrn::kHeight);
        forward = [=] { net->forward(pictures->data(), count, depths->data()); };
    }
    forward();
    std::cout << "ready " << at::get_num_threads() << " threads" << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        const auto start = std::chrono::steady_clock::now();
        forward();
        std::cout << std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count() << std::endl;
    }
}
