#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime.h>
#include <faiss/gpu/GpuIndexFlat.h>

namespace faiss_vision {

/// Searches a flat index on a GPU for a few queries in one pass over its vectors, as fast as the GPU reads them. FAISS multiplies
/// matrices, writes all distances and looks through those of each query with one block of threads, which for few queries takes many
/// times as long. Distances are sums of squared differences (or products), in the vectors' order; of equal ones the lower id is first.
class FlatScan {
public:
    explicit FlatScan(int device) : device_(device) {}
    ~FlatScan();
    FlatScan(const FlatScan&) = delete;
    FlatScan& operator=(const FlatScan&) = delete;

    /// Whether this is the faster way.
    static bool takes(const faiss::gpu::GpuIndexFlat& index, int64_t n, int64_t k);

    /// Begins a search on `stream`; what `takes` takes. Results are there once the stream was waited for; where there are fewer
    /// than k vectors the id is -1, as FAISS has it.
    /// @param queries    n x d, on this GPU or page-locked
    /// @param distances  n x k, page-locked, as `labels`
    void search(faiss::gpu::GpuIndexFlat& index, int64_t n, const float* queries, int64_t k, float* distances, int64_t* labels, cudaStream_t stream);

private:
    void reserve(size_t bytes);

    const int device_;
    int processors_ = 0;
    void* memory_ = nullptr; // queries and each block's candidates
    size_t bytes_ = 0;
};

} // namespace faiss_vision
