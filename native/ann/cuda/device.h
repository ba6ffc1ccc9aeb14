#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <cuda_runtime.h>
#include <faiss/gpu/StandardGpuResources.h>

#include "ann/gpu.h"

namespace faiss_vision {

/// What the indexes on one GPU share, while one of them lives: FAISS's streams, cuBLAS, memory for temporary results and
/// page-locked memory. None of it may be used by two threads at once.
class CudaDevice {
public:
    /// @param use  0, or the how-manieth time one index names this GPU: then these are resources of their own
    static std::shared_ptr<CudaDevice> open(int number, int use = 0);

    explicit CudaDevice(int number);

    int number() const { return number_; }
    std::mutex& mutex() { return mutex_; }
    faiss::gpu::StandardGpuResources& resources() { return resources_; }
    cudaStream_t stream() { return resources_.getDefaultStream(number_); }

    /// Page-locked once and used again and again; nullptr where it is smaller than that.
    void* pageLocked(size_t bytes);

    /// Waits for what was asked of it. Throws where that went wrong.
    void wait();

private:
    const int number_;
    std::mutex mutex_;
    faiss::gpu::StandardGpuResources resources_;
};

[[noreturn]] void throwTranslated(const std::string& what, const std::vector<int>& devices);

/// Calls into FAISS's code for GPUs: what fails for lack of memory becomes ERR_CUDA_OUT_OF_MEMORY.
/// @param what  what could not be done
template <class Call>
auto cudaCall(const char* what, const std::vector<int>& devices, Call call) -> decltype(call()) {
    try {
        return call();
    } catch (...) {
        throwTranslated(what, devices);
    }
}

/// Why cuBLAS cannot be used; empty where it can.
std::string blasProblem();
std::string blasVersion();

/// What a cuBLAS without memory throws through FAISS, which would end the process.
struct CudaOutOfMemory : std::exception {
    const char* what() const noexcept override { return "cuBLAS: alloc fail"; }
};

/// Whether code for this GPU was compiled; probe.cu.
cudaError_t probeKernel();

} // namespace faiss_vision
