#pragma once

#include <functional>
#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "vision/convolution.h"

namespace faiss_vision {

/// Where networks made of torch's own operations run, and in what numbers they multiply. Everything of one Device goes through
/// one CUDA stream of its own, in the order in which it was called. What is written for it runs on torch's CPU as well: that is
/// how it is tested where there is no GPU. (The CPU that people ask for has kernels of its own, vision/convolution.h.)
class Device {
public:
    /// "cuda" (the first one) or "cuda:N"; "torch", which is torch's CPU, for tests. Throws ERR_CUDA_UNAVAILABLE, which says why, and
    /// ERR_INVALID_ARGUMENT.
    static std::shared_ptr<const Device> open(const std::string& name, Precision precision);

    Device(at::Device place, at::ScalarType type);
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    at::Device place() const { return place_; }
    /// What weights and maps are kept in.
    at::ScalarType type() const { return type_; }

    /// Does the work on this thread with the device's stream as torch's current one. What the work has read back is there
    /// when it returns; nothing else is waited for.
    /// Throws what the work throws; ERR_CUDA_OUT_OF_MEMORY where the device had not enough memory: then all that the work
    /// took is given back, and the next call may succeed.
    void run(const std::function<void()>& work) const;

    /// Memory that goes up to the device without being copied once more: page-locked where the device is a GPU.
    at::Tensor staging(int64_t bytes) const;
    at::Tensor up(const at::Tensor& host) const;
    template <class Number>
    at::Tensor up(const std::vector<Number>& numbers, at::IntArrayRef shape) const {
        const at::Tensor host = staging(int64_t(numbers.size() * sizeof(Number)));
        std::copy(numbers.begin(), numbers.end(), reinterpret_cast<Number*>(host.data_ptr()));
        return up(host.view(c10::CppTypeToScalarType<Number>::value).view(shape));
    }
    at::TensorOptions options(at::ScalarType type) const { return at::TensorOptions().device(place_).dtype(type); }

private:
    friend class Batched;
    struct Stream;

    static std::shared_ptr<const Device> openCuda(const std::string& name, at::ScalarType type);

    const at::Device place_;
    const at::ScalarType type_;
    std::unique_ptr<Stream> stream_; // null on the CPU
};

/// A forward pass over any number of inputs. On a GPU the kernels of a small batch take less time than starting them one by one,
/// so they are recorded once for each of a few batch sizes (a CUDA graph) and started together from then on.
class Batched {
public:
    /// n x ... to n x ...; the same kernels for the same n.
    using Forward = std::function<at::Tensor(const at::Tensor&)>;

    /// @param largest  batch; more inputs go through in several. It bounds memory. A power of two.
    /// @param recorded  largest batch that is recorded; 0 for none
    Batched(std::shared_ptr<const Device> device, Forward forward, int64_t largest, int64_t recorded = 32);
    ~Batched();
    Batched(const Batched&) = delete;
    Batched& operator=(const Batched&) = delete;

    /// Within Device::run. One call at a time.
    at::Tensor operator()(const at::Tensor& inputs);

private:
    struct Recordings;

    at::Tensor part(const at::Tensor& inputs);

    const std::shared_ptr<const Device> device_;
    const Forward forward_;
    const int64_t largest_, recorded_;
    std::unique_ptr<Recordings> recordings_;
};

} // namespace faiss_vision
