#include "vision/device.h"

#include <algorithm>
#include <vector>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include "error.h"

#ifndef FAISS_VISION_CUDA // else vision/device_cuda.cpp has what a GPU needs

namespace faiss_vision {

struct Device::Stream {};
struct Batched::Recordings {};

std::shared_ptr<const Device> Device::openCuda(const std::string& name, at::ScalarType) {
    throw Error("ERR_CUDA_UNAVAILABLE", "`device` '" + name + "' cannot be used: this build of faiss-vision has no CUDA");
}

Device::Device(at::Device place, at::ScalarType type) : place_(place), type_(type) {}
Device::~Device() = default;

void Device::run(const std::function<void()>& work) const {
    const c10::InferenceMode inference;
    work();
}

at::Tensor Device::staging(int64_t bytes) const { return at::empty({bytes}, at::kByte); }
at::Tensor Device::up(const at::Tensor& host) const { return host; }

Batched::Batched(std::shared_ptr<const Device> device, Forward forward, int64_t largest, int64_t recorded)
    : device_(std::move(device)), forward_(std::move(forward)), largest_(largest), recorded_(recorded) {}
Batched::~Batched() = default;

at::Tensor Batched::part(const at::Tensor& inputs) { return forward_(inputs); }

} // namespace faiss_vision

#endif

namespace faiss_vision {

std::shared_ptr<const Device> Device::open(const std::string& name, Precision precision) {
    const at::ScalarType type = precision == Precision::Fp32 ? at::kFloat : precision == Precision::Bf16 ? at::kBFloat16 : at::kHalf;
    return name == "torch" ? std::make_shared<const Device>(at::kCPU, type) : openCuda(name, type);
}

at::Tensor Batched::operator()(const at::Tensor& inputs) {
    if (inputs.size(0) <= largest_) return part(inputs);
    std::vector<at::Tensor> parts;
    for (const at::Tensor& some : inputs.split(largest_)) parts.push_back(part(some));
    return at::cat(parts);
}

} // namespace faiss_vision
