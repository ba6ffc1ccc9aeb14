#include "ann/cuda/flat_search.h"

#include <algorithm>

#include <faiss/gpu/impl/FlatIndex.cuh>
#include <faiss/gpu/utils/DeviceUtils.h>

#include "ann/cuda/flat_best.cuh"

namespace faiss_vision {
namespace {

constexpr int kMergeWarps = 32; // of the block that brings a query's candidates together

/// Block q for query q.
template <int Slots>
__global__ void __launch_bounds__(kLanes* kMergeWarps) merge(const Candidate* candidates, int count, int k, bool l2, const float* norms,
                                                             float* distances, int64_t* labels) {
    extern __shared__ float4 shared[];
    auto* const lists = reinterpret_cast<Candidate*>(shared);
    const int warp = threadIdx.x / kLanes;
    const int64_t query = blockIdx.x;
    bestOf<Slots>(candidates + query * count, count, warp, kMergeWarps, k).write(lists + warp * k, k);
    __syncthreads();
    if (warp > 0) return;
    const Best<Slots> best = bestOf<Slots>(lists, kMergeWarps * k, 0, 1, k);
#pragma unroll
    for (int s = 0; s < Slots; s++) {
        const int place = kLanes * s + threadIdx.x;
        if (place >= k) continue;
        const Candidate& each = best.own[s];
        const bool there = each.id != INT_MAX;
        float distance = l2 ? each.distance : -each.distance;
        if (there && norms != nullptr) distance = fmaxf(0, distance + norms[query]); // rounding may give less, of a vector and itself
        distances[query * k + place] = distance;
        labels[query * k + place] = there ? each.id : -1;
    }
}

int processorsOf(int device) {
    int processors = 0;
    checkCuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    return processors;
}

} // namespace

void mergeCandidates(const FlatSearch& search, const Candidate* candidates, int count) {
    const auto kernel = search.k <= kLanes ? merge<1> : merge<4>;
    kernel<<<search.n, kLanes * kMergeWarps, kMergeWarps * size_t(search.k) * sizeof(Candidate), search.stream>>>(
        candidates, count, search.k, search.l2, search.norms, search.distances, search.labels);
    checkCuda(cudaGetLastError());
}

bool searchesFlat(const faiss::gpu::GpuIndexFlat& index, int64_t n, int64_t k) {
    if (index.metric_type != faiss::METRIC_L2 && index.metric_type != faiss::METRIC_INNER_PRODUCT) return false;
    if (n < 1 || k < 1 || k > kMostNeighbours || index.ntotal > INT_MAX - kMostNeighbours) return false;
    const bool half = const_cast<faiss::gpu::GpuIndexFlat&>(index).getGpuData()->getUseFloat16();
    return !half || n <= mostScanned(index.d, int(k), half);
}

void searchFlat(faiss::gpu::GpuResources& resources, faiss::gpu::GpuIndexFlat& index, int64_t n, const float* queries, int64_t k, float* distances,
                int64_t* labels, cudaStream_t stream) {
    const int device = index.getDevice();
    const faiss::gpu::DeviceScope here(device);
    faiss::gpu::FlatIndex& flat = *index.getGpuData();
    const bool half = flat.getUseFloat16(), l2 = index.metric_type == faiss::METRIC_L2;
    FlatSearch search{nullptr, int(index.ntotal), index.d, int(k), half, l2, processorsOf(device), stream};
    if (search.count > 0) search.vectors = half ? static_cast<const void*>(flat.getVectorsFloat16Ref().data()) : flat.getVectorsFloat32Ref().data();

    const auto room = [&](size_t bytes) {
        return resources.allocMemoryHandle({faiss::gpu::makeTempAlloc(faiss::gpu::AllocType::Other, stream), bytes});
    };
    const bool few = n <= mostScanned(index.d, int(k), search.half);
    const int most = few ? int(n) : int(std::min<int64_t>(n, kQueriesAtOnce));
    for (int64_t begin = 0; begin < n; begin += most) {
        search.n = int(std::min<int64_t>(most, n - begin));
        const size_t numbers = size_t(search.n + kScanned - 1) * size_t(search.d);
        auto there = room((numbers + size_t(search.n)) * sizeof(float));
        auto* const own = static_cast<float*>(there.get());
        checkCuda(cudaMemcpyAsync(own, queries + begin * search.d, size_t(search.n) * size_t(search.d) * sizeof(float), cudaMemcpyDefault, stream));
        search.queries = own;
        search.distances = distances + begin * k;
        search.labels = labels + begin * k;
        if (few) {
            auto candidates = room(size_t(scanCandidates(search)) * kScanned * sizeof(Candidate));
            scanFlat(search, static_cast<Candidate*>(candidates.get()));
        } else {
            if (search.l2) search.norms = own + numbers;
            const auto [products, candidates] = productsRoom(search);
            auto product = room(size_t(products + products / search.n) * sizeof(float));
            auto kept = room(size_t(candidates) * size_t(search.n) * sizeof(Candidate));
            multiplyFlat(search, resources.getBlasHandle(device), static_cast<float*>(product.get()), static_cast<Candidate*>(kept.get()));
        }
    }
}

} // namespace faiss_vision
