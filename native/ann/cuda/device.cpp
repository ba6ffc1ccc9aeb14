#include "ann/cuda/device.h"

#include <atomic>
#include <map>
#include <optional>
#include <utility>

#include <dlfcn.h>
#include <faiss/impl/FaissException.h>

#include "ann/faiss_call.h"
#include "error.h"

namespace faiss_vision {
namespace {

std::string versionText(int version) {
    return version == 0 ? "" : std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string gibibytes(size_t bytes) {
    const size_t tenths = bytes / (size_t{1} << 30) * 10 + bytes % (size_t{1} << 30) * 10 / (size_t{1} << 30);
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GiB";
}

struct Registry {
    std::mutex mutex;
    std::map<std::pair<int, int>, std::weak_ptr<CudaDevice>> devices;
    std::optional<size_t> temporaryMemory;
};

Registry& registry() {
    static Registry& registry = *new Registry; // never ended: CUDA is gone before the process's own objects are
    return registry;
}

/// The CUDA that the driver supports, asked of itself: cudart says 0 for some that are too old for it. 0 where there is none.
int driverVersion() {
    static void* const driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    int version = 0;
    if (driver == nullptr) return 0;
    const auto ask = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDriverGetVersion"));
    return ask != nullptr && ask(&version) == 0 ? version : 0;
}

/// How many there are, or why there is none.
int deviceCount(std::string& reason) {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    cudaGetLastError(); // or FAISS takes it for an error of its own
    if (error == cudaSuccess && count > 0) return count;
    const int driver = driverVersion();
    if (driver == 0) {
        reason = "there is no NVIDIA driver (libcuda.so.1)";
    } else if (error == cudaErrorInsufficientDriver && driver / 1000 < CUDART_VERSION / 1000) {
        reason = "the NVIDIA driver is too old: it supports CUDA " + versionText(driver) + ", and this build needs " +
                 versionText(CUDART_VERSION);
    } else if (error == cudaSuccess || error == cudaErrorNoDevice) {
        reason = "the NVIDIA driver finds no GPU";
    } else {
        reason = std::string("CUDA says: ") + cudaGetErrorString(error);
    }
    return 0;
}

class CurrentDevice {
public:
    explicit CurrentDevice(int number) {
        cudaGetDevice(&before_);
        if (number != before_) cudaSetDevice(number);
    }
    ~CurrentDevice() { cudaSetDevice(before_); }
    CurrentDevice(const CurrentDevice&) = delete;
    CurrentDevice& operator=(const CurrentDevice&) = delete;

private:
    int before_ = 0;
};

std::string capabilityOf(int number) {
    int major = 0, minor = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, number);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, number);
    return std::to_string(major) + "." + std::to_string(minor);
}

/// Why this GPU, which is there, cannot be used; empty where it can.
std::string problemOf(int number) {
    const CurrentDevice current(number);
    const cudaError_t error = probeKernel();
    cudaGetLastError();
    if (error == cudaSuccess) return blasProblem().empty() ? "" : "cuBLAS cannot be used: " + blasProblem();
    if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction) {
        return "it has compute capability " + capabilityOf(number) + ", and this build has code for " FAISS_VISION_CUDA_ARCHITECTURES;
    }
    if (error == cudaErrorMemoryAllocation) {
        throw Error("ERR_CUDA_OUT_OF_MEMORY", "cuda:" + std::to_string(number) + " has no memory left to begin with");
    }
    return std::string("CUDA says: ") + cudaGetErrorString(error);
}

} // namespace

GpuInfo gpuInfo() {
    GpuInfo info;
    info.driver = versionText(driverVersion());
    info.runtime = versionText(CUDART_VERSION);
    info.architectures = FAISS_VISION_CUDA_ARCHITECTURES;
    const int count = deviceCount(info.reason);
    if (count > 0) info.blas = blasVersion();
    for (int number = 0; number < count; number++) {
        const CurrentDevice current(number);
        GpuDevice device{number, "", capabilityOf(number), 0, 0};
        cudaDeviceProp properties;
        if (cudaGetDeviceProperties(&properties, number) == cudaSuccess) device.name = properties.name;
        cudaMemGetInfo(&device.free, &device.memory);
        cudaGetLastError();
        info.devices.push_back(device);
    }
    for (const GpuDevice& device : info.devices) {
        const std::string problem = problemOf(device.number);
        if (device.number == 0 || problem.empty()) info.reason = problem;
        if (problem.empty()) break;
    }
    return info;
}

void requireGpu(int number) {
    std::string reason;
    const int count = deviceCount(reason);
    if (count > 0 && number >= count) {
        const std::string last = std::to_string(count - 1);
        reason = count == 1 ? "there is one GPU, cuda:0" : "there are " + std::to_string(count) + " GPUs, cuda:0 to cuda:" + last;
    } else if (count > 0) {
        reason = problemOf(number);
    }
    if (!reason.empty()) throw Error("ERR_CUDA_UNAVAILABLE", "`device` 'cuda:" + std::to_string(number) + "' cannot be used: " + reason);
}

CudaDevice::CudaDevice(int number) : number_(number) {
    {
        const std::lock_guard<std::mutex> lock(registry().mutex);
        if (registry().temporaryMemory) resources_.setTempMemory(*registry().temporaryMemory);
    }
    // Now, so that what fails half-way is not used: FAISS would take it for done.
    resources_.getResources()->initializeForDevice(number);
}

std::shared_ptr<CudaDevice> CudaDevice::open(int number, int use) {
    static std::mutex& opening = *new std::mutex;
    const std::lock_guard<std::mutex> lock(opening);
    {
        const std::lock_guard<std::mutex> registryLock(registry().mutex);
        if (auto device = registry().devices[{number, use}].lock()) return device;
    }
    requireGpu(number);
    const auto device = cudaCall("begin", {number}, [&] { return std::make_shared<CudaDevice>(number); });
    const std::lock_guard<std::mutex> registryLock(registry().mutex);
    registry().devices[{number, use}] = device;
    return device;
}

void* CudaDevice::pageLocked(size_t bytes) {
    // FAISS's own, which it uses for inputs that are larger.
    const auto [memory, size] = resources_.getResources()->getPinnedMemory();
    return bytes <= size ? memory : nullptr;
}

void CudaDevice::wait() {
    const cudaError_t error = cudaStreamSynchronize(stream());
    if (error != cudaSuccess) throw Error("ERR_CUDA_FAILED", "cuda:" + std::to_string(number_) + " failed: " + cudaGetErrorString(error));
}

void setGpuTemporaryMemory(size_t bytes) {
    requireGpu(0);
    std::vector<std::shared_ptr<CudaDevice>> devices;
    {
        const std::lock_guard<std::mutex> lock(registry().mutex);
        registry().temporaryMemory = bytes;
        for (const auto& entry : registry().devices) {
            if (auto device = entry.second.lock()) devices.push_back(std::move(device));
        }
    }
    for (const auto& device : devices) {
        const std::lock_guard<std::mutex> lock(device->mutex());
        cudaCall("set temporary memory aside", {device->number()}, [&] {
            try {
                device->resources().setTempMemory(bytes);
            } catch (...) {
                device->resources().setTempMemory(0); // else FAISS has none at all, and does not look
                throw;
            }
        });
    }
}

void throwTranslated(const std::string& what, const std::vector<int>& devices) {
    std::string text;
    try {
        throw;
    } catch (const Error&) {
        throw;
    } catch (const faiss::FaissException& exception) {
        text = exception.msg;
    } catch (const std::exception& exception) {
        text = exception.what();
    }
    // FAISS tells by words alone.
    const bool memory = text.find("alloc fail") != std::string::npos || text.find("cudaHostAlloc") != std::string::npos ||
                        text.find("out of memory") != std::string::npos;
    if (!memory) throw; // NOLINT: still the exception that the caller handles
    cudaGetLastError();
    std::string free;
    for (const int number : devices) {
        const CurrentDevice current(number);
        size_t left = 0, total = 0;
        cudaMemGetInfo(&left, &total);
        free += (free.empty() ? "" : ", ") + ("cuda:" + std::to_string(number)) + " has " + gibibytes(left) + " of " + gibibytes(total) + " free";
    }
    throw Error("ERR_CUDA_OUT_OF_MEMORY", "not enough GPU memory to " + what + ": " + free);
}

} // namespace faiss_vision
