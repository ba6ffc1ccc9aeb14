#pragma once

#include <cstdint>

#include <cuda_runtime.h>
#include <faiss/gpu/GpuIndexFlat.h>
#include <faiss/gpu/GpuResources.h>

namespace faiss_vision {

/// Searches of flat indexes on a GPU, faster than FAISS's own: a few queries in one pass over the vectors, as fast as the GPU reads
/// them (flat_scan.cu), and more by products of matrices (flat_products.cu). FAISS looks through a query's distances to all vectors
/// with one block of threads, which takes milliseconds however few queries there are; here many warps share them.
/// Of equal distances the lower id is first.

/// Whether `searchFlat` is for this.
bool searchesFlat(const faiss::gpu::GpuIndexFlat& index, int64_t n, int64_t k);

/// Begins a search on `stream`, the resources' own. Results are there once it was waited for; where there are fewer than k vectors
/// the id is -1, as FAISS has it. Throws what FAISS throws where memory does not suffice, and ERR_CUDA_FAILED.
/// @param queries    n x d, on this GPU or page-locked
/// @param distances  n x k, page-locked, as `labels`
void searchFlat(faiss::gpu::GpuResources& resources, faiss::gpu::GpuIndexFlat& index, int64_t n, const float* queries, int64_t k, float* distances,
                int64_t* labels, cudaStream_t stream);

} // namespace faiss_vision
