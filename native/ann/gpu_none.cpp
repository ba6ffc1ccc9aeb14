// The build without CUDA.
#include "ann/gpu.h"

#include "error.h"

namespace faiss_vision {
namespace {

const char* const kReason = "this build of faiss-vision has no CUDA";

} // namespace

GpuInfo gpuInfo() {
    GpuInfo info;
    info.reason = kReason;
    return info;
}

void requireGpu(int number) {
    throw Error("ERR_CUDA_UNAVAILABLE", "`device` 'cuda:" + std::to_string(number) + "' cannot be used: " + kReason);
}

std::unique_ptr<GpuIndex> makeGpuIndex(const faiss::Index&, const GpuPlacement& placement) {
    requireGpu(placement.devices.at(0));
    return nullptr;
}

void setGpuTemporaryMemory(size_t) { requireGpu(0); }

} // namespace faiss_vision
