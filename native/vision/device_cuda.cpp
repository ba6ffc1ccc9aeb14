#include "vision/device.h"

#ifdef FAISS_VISION_CUDA // all that needs more than torch's own operations; vision/device.cpp is for builds without

#include <map>
#include <memory>
#include <mutex>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include <ATen/Context.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>

#include "error.h"

namespace faiss_vision {
namespace {

[[noreturn]] void unavailable(const std::string& name, const std::string& reason) {
    throw Error("ERR_CUDA_UNAVAILABLE", "`device` '" + name + "' cannot be used: " + reason);
}

std::string versionText(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

/// Why the runtime sees no GPU.
std::string reasonFor(cudaError_t error) {
    int driver = 0;
    cudaDriverGetVersion(&driver);
    if (driver == 0) return "there is no NVIDIA driver";
    if (error == cudaErrorInsufficientDriver) {
        return "the NVIDIA driver is too old: it supports CUDA " + versionText(driver) + ", this build needs " + versionText(CUDART_VERSION);
    }
    return error == cudaErrorNoDevice ? "there is no NVIDIA GPU" : cudaGetErrorString(error);
}

c10::DeviceIndex indexOf(const std::string& name) {
    std::smatch parts;
    if (!std::regex_match(name, parts, std::regex("cuda(?::([0-9]{1,3}))?"))) {
        throw Error("ERR_INVALID_ARGUMENT", "`device` must be 'cuda' or 'cuda:N', got '" + name + "'");
    }
    const int index = parts[1].matched ? std::stoi(parts[1]) : 0;
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
        cudaGetLastError(); // else the next call, whoever makes it, reports it once more
        unavailable(name, reasonFor(error));
    }
    if (index >= count) unavailable(name, "there is no such device, only cuda:0" + (count > 1 ? " to cuda:" + std::to_string(count - 1) : std::string()));
    return c10::DeviceIndex(index);
}

/// torch's allocator has a type for it, cuDNN and cuBLAS have words.
bool saysOutOfMemory(const std::string& what) {
    return what.find("out of memory") != std::string::npos || what.find("ALLOC_FAILED") != std::string::npos;
}

/// Recordings one at a time: torch's random numbers, which no network here uses, take part in one only. And while one is under way
/// torch refuses to give its cached memory back, whoever asks.
std::mutex& recordingMutex() {
    static std::mutex& mutex = *new std::mutex; // never ended: a model may outlive the process's own objects
    return mutex;
}

void emptyCache() {
    const std::lock_guard<std::mutex> lock(recordingMutex());
    c10::cuda::CUDACachingAllocator::emptyCache();
}

} // namespace

/// One of its own, as torch's pool hands the same few out again and again, and a recording must not catch another model's work.
struct Device::Stream {
    explicit Stream(c10::DeviceIndex device) : raw(make(device)), stream(c10::cuda::getStreamFromExternal(raw, device)) {}
    ~Stream() {
        const c10::cuda::CUDAGuard here(stream.device_index());
        cudaStreamSynchronize(raw);
        try {
            emptyCache(); // no other stream would ever use what this one leaves
        } catch (const std::exception&) {
            cudaGetLastError(); // the device is gone, and all of this with it
        }
        cudaStreamDestroy(raw);
    }

    static cudaStream_t make(c10::DeviceIndex device) {
        const c10::cuda::CUDAGuard here(device);
        cudaStream_t made = nullptr;
        const cudaError_t error = cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking);
        if (error != cudaSuccess) throw Error("ERR_CUDA_UNAVAILABLE", std::string("`device` cannot be used: ") + cudaGetErrorString(error));
        return made;
    }

    const cudaStream_t raw;
    const c10::cuda::CUDAStream stream;
};

std::shared_ptr<const Device> Device::openCuda(const std::string& name, at::ScalarType type) {
    const at::Device place(at::kCUDA, indexOf(name));
    // fp32 means 24 bits: torch would let cuDNN keep 11 of them (TF32).
    at::globalContext().setAllowTF32CuDNN(false);
    const auto device = std::make_shared<const Device>(place, type);
    try {
        device->run([&] { at::zeros({1}, device->options(at::kFloat)).add(1).cpu(); }); // a GPU that libtorch has no code for
    } catch (const c10::Error& error) {
        unavailable(name, error.what_without_backtrace());
    }
    return device;
}

Device::Device(at::Device place, at::ScalarType type) : place_(place), type_(type) {
    if (place.is_cuda()) stream_ = std::make_unique<Stream>(place.index());
}
Device::~Device() = default;

void Device::run(const std::function<void()>& work) const {
    const c10::InferenceMode inference;
    if (stream_ == nullptr) return work();
    const c10::cuda::CUDAStreamGuard guard(stream_->stream);
    std::string failure;
    try {
        return work();
    } catch (const c10::OutOfMemoryError& error) {
        failure = error.what_without_backtrace();
    } catch (const c10::Error& error) {
        if (!saysOutOfMemory(error.what())) throw;
        failure = error.what_without_backtrace();
    }
    cudaGetLastError();
    emptyCache();
    throw Error("ERR_CUDA_OUT_OF_MEMORY", "the device has not enough memory: " + failure);
}

at::Tensor Device::staging(int64_t bytes) const { return at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(stream_ != nullptr)); }

at::Tensor Device::up(const at::Tensor& host) const { return host.to(place_, host.scalar_type(), /*non_blocking=*/true); }

struct Batched::Recordings {
    struct Recording {
        at::Tensor input, output;
        at::cuda::CUDAGraph graph;
    };

    at::cuda::MempoolId_t pool = at::cuda::graph_pool_handle(); // one for all: each result is copied before the next recording runs
    std::map<int64_t, std::unique_ptr<Recording>> bySize;
};

Batched::Batched(std::shared_ptr<const Device> device, Forward forward, int64_t largest, int64_t recorded)
    : device_(std::move(device)), forward_(std::move(forward)), largest_(largest), recorded_(recorded) {
    if (device_->place().is_cuda()) recordings_ = std::make_unique<Recordings>();
}

Batched::~Batched() {
    if (recordings_ == nullptr) return;
    const c10::cuda::CUDAStreamGuard guard(device_->stream_->stream);
    cudaStreamSynchronize(device_->stream_->raw);
    recordings_.reset();
}

at::Tensor Batched::part(const at::Tensor& inputs) {
    const int64_t n = inputs.size(0);
    std::vector<int64_t> shape = inputs.sizes().vec();
    if (recordings_ == nullptr || n > recorded_) {
        // Of few sizes, four from each power of two to the next: cuDNN thinks for longer about a new one than it computes.
        int64_t step = 1;
        while (step * 8 <= n) step *= 2;
        shape[0] = (n + step - 1) / step * step;
        if (shape[0] == n) return forward_(inputs);
        const at::Tensor padded = at::zeros(shape, inputs.options());
        padded.narrow(0, 0, n).copy_(inputs);
        return forward_(padded).narrow(0, 0, n);
    }
    int64_t size = 1;
    while (size < n) size *= 2;
    std::unique_ptr<Recordings::Recording>& recording = recordings_->bySize[size];
    if (recording == nullptr) {
        const std::lock_guard<std::mutex> lock(recordingMutex());
        auto made = std::make_unique<Recordings::Recording>();
        shape[0] = size;
        made->input = at::zeros(shape, inputs.options());
        for (int i = 0; i < 2; i++) forward_(made->input); // what libraries set up at the first call cannot be recorded
        cudaStreamSynchronize(device_->stream_->raw);
        made->graph.capture_begin(recordings_->pool, cudaStreamCaptureModeThreadLocal);
        try {
            made->output = forward_(made->input);
        } catch (...) {
            try {
                made->graph.capture_end(); // else the stream would go on recording
            } catch (const std::exception&) {
            }
            throw;
        }
        made->graph.capture_end();
        recording = std::move(made);
    }
    recording->input.narrow(0, 0, n).copy_(inputs);
    recording->graph.replay();
    return recording->output.narrow(0, 0, n).clone();
}

} // namespace faiss_vision

#endif
