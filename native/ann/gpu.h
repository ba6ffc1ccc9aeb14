#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <faiss/Index.h>
#include <faiss/IndexBinary.h>

namespace faiss_vision {

/// On which GPUs an index is, and how.
struct GpuPlacement {
    std::vector<int> devices; // several hold the whole index each, or a part of it; one named twice counts as two
    bool shards = false;      // parts
    bool float16 = false;     // flat vectors, and the tables of product quantizers, in half the memory
};

/// An index whose vectors are on GPUs. To FAISS it is an index of its own, which IDMap and PreTransform wrap as any other.
/// All calls on one GPU wait for each other, whichever index they are for: FAISS's memory for temporary results is one.
/// Where a call fails for lack of memory the index is what it was before: ERR_CUDA_OUT_OF_MEMORY.
class GpuIndex : public faiss::Index {
public:
    virtual const GpuPlacement& placement() const = 0;
    /// FAISS's class that it is on the CPU.
    virtual const std::string& cpuType() const = 0;
    /// The same index on the CPU.
    virtual std::unique_ptr<faiss::Index> toCpu() const = 0;
    /// Inverted lists, 0 where the type has none.
    virtual int64_t lists() const = 0;
    virtual int64_t nprobe() const = 0;
    virtual void setNprobe(int64_t nprobe) = 0;
    virtual int64_t largestNprobe() const = 0;
    /// Whether `add` and `search` take vectors that lie in this GPU's memory.
    virtual bool readsFrom(int gpu) const = 0;

protected:
    using faiss::Index::Index;
};

struct GpuDevice {
    int number;
    std::string name;
    std::string capability; // "9.0"
    size_t memory, free;    // bytes
};

/// Versions are empty where they are not known.
struct GpuInfo {
    std::string driver;        // the CUDA that it supports
    std::string runtime;       // the CUDA that this was built with
    std::string blas;          // cuBLAS
    std::string architectures; // those that code was compiled for
    std::vector<GpuDevice> devices;
    std::string reason; // why none can be used, empty where one can
};

// In the CUDA build these are in native/ann/cuda, in the other one in gpu_none.cpp.

GpuInfo gpuInfo();

/// Throws ERR_CUDA_UNAVAILABLE with the reason.
void requireGpu(int number);

/// Copies an index, which is no wrapper. Throws ERR_CUDA_UNAVAILABLE, ERR_UNSUPPORTED for types that stay on the CPU,
/// ERR_CUDA_OUT_OF_MEMORY.
std::unique_ptr<GpuIndex> makeGpuIndex(const faiss::Index& index, const GpuPlacement& placement);

/// Memory for temporary results on each GPU, at most FAISS's own 1.5 GiB: for indexes there are, and those to come.
void setGpuTemporaryMemory(size_t bytes);

// In both builds.

/// The part of it that is on GPUs, inside an IDMap or behind a transform too; nullptr where all is on the CPU.
GpuIndex* gpuPart(faiss::Index& index);
const GpuIndex* gpuPart(const faiss::Index& index);
inline const GpuIndex* gpuPart(const faiss::IndexBinary&) { return nullptr; }

/// Moves what it holds, within its wrappers; where that fails it is as it was.
void moveToGpu(std::unique_ptr<faiss::Index>& index, const GpuPlacement& placement);
void moveToCpu(std::unique_ptr<faiss::Index>& index);

/// The same index with all of it on the CPU, to be written to a file. Refers to the index: its wrappers are shared.
class CpuForm {
public:
    explicit CpuForm(const faiss::Index& index);
    const faiss::Index& index() const { return *top_; }

private:
    const faiss::Index* copyOf(const faiss::Index& index);

    std::vector<std::unique_ptr<faiss::Index>> made_; // innermost first
    const faiss::Index* top_;
};

} // namespace faiss_vision
