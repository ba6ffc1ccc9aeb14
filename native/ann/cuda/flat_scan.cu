#include "ann/cuda/flat_scan.h"

#include <algorithm>
#include <cfloat>
#include <climits>
#include <string>

#include <cuda_fp16.h>
#include <faiss/gpu/impl/FlatIndex.cuh>
#include <faiss/gpu/utils/DeviceUtils.h>

#include "ann/cuda/device.h"
#include "error.h"

namespace faiss_vision {
namespace {

constexpr int kLanes = 32;
constexpr unsigned kAll = 0xffffffff;
constexpr int kWarps = 8;       // of a block that scans
constexpr int kMergeWarps = 32; // of the block that brings a query's candidates together
constexpr int kRows = 4;        // that a warp reads at a time: so many reads are under way that the memory is never idle
constexpr int kBlocksPerProcessor = 4; // at most
// More passes over the vectors than these take longer than FAISS's way: where a warp keeps 32 neighbours or fewer, and for more.
constexpr int kPasses = 3, kPassesOfMany = 2;
constexpr int kSharedBytes = 48 * 1024;

struct alignas(8) Candidate {
    float distance;
    int id;
};

/// The lower the better; an inner product counts negative.
__device__ bool before(const Candidate& a, const Candidate& b) { return a.distance < b.distance || (a.distance == b.distance && a.id < b.id); }

/// The k best that a warp has seen, in order: place 32 * s + lane is each lane's own [s].
template <int Slots>
struct Best {
    Candidate own[Slots];
    Candidate last; // the k-th, the same in every lane

    __device__ Best() : last{FLT_MAX, INT_MAX} {
        for (Candidate& each : own) each = {FLT_MAX, INT_MAX};
    }

    /// The same candidate in every lane, which is before `last`.
    __device__ void insert(const Candidate& found, int k) {
        const int lane = threadIdx.x % kLanes;
        int place = 0;
#pragma unroll
        for (int s = 0; s < Slots; s++) place += __popc(__ballot_sync(kAll, before(own[s], found)));
#pragma unroll
        for (int s = Slots - 1; s >= 0; s--) {
            Candidate moved{__shfl_up_sync(kAll, own[s].distance, 1), __shfl_up_sync(kAll, own[s].id, 1)};
            if (s > 0) {
                const Candidate carried{__shfl_sync(kAll, own[s > 0 ? s - 1 : 0].distance, kLanes - 1), __shfl_sync(kAll, own[s > 0 ? s - 1 : 0].id, kLanes - 1)};
                if (lane == 0) moved = carried;
            }
            const int at = kLanes * s + lane;
            if (at > place) own[s] = moved;
            else if (at == place) own[s] = found;
        }
#pragma unroll
        for (int s = 0; s < Slots; s++) {
            if ((k - 1) / kLanes != s) continue;
            last = {__shfl_sync(kAll, own[s].distance, (k - 1) % kLanes), __shfl_sync(kAll, own[s].id, (k - 1) % kLanes)};
        }
    }

    /// Each lane brings a candidate of its own, or one that is before nothing.
    __device__ void offer(const Candidate& candidate, int k) {
        for (unsigned good = __ballot_sync(kAll, before(candidate, last)); good != 0; good &= good - 1) {
            const int lane = __ffs(good) - 1;
            const Candidate found{__shfl_sync(kAll, candidate.distance, lane), __shfl_sync(kAll, candidate.id, lane)};
            if (before(found, last)) insert(found, k);
        }
    }

    __device__ void write(Candidate* to, int k) const {
#pragma unroll
        for (int s = 0; s < Slots; s++) {
            const int at = kLanes * s + threadIdx.x % kLanes;
            if (at < k) to[at] = own[s];
        }
    }
};

/// One warp's best of `count` candidates that lie anywhere, `step` chunks of 32 apart.
template <int Slots>
__device__ Best<Slots> bestOf(const Candidate* from, int count, int first, int step, int k) {
    Best<Slots> best;
    for (int begin = first * kLanes; begin < count; begin += step * kLanes) {
        const int at = begin + threadIdx.x % kLanes;
        best.offer(at < count ? from[at] : Candidate{FLT_MAX, INT_MAX}, k);
    }
    return best;
}

/// Four numbers of a vector, which nobody reads again soon.
__device__ float4 four(const float* from) { return __ldcs(reinterpret_cast<const float4*>(from)); }
__device__ float4 four(const half* from) {
    const uint2 pairs = __ldcs(reinterpret_cast<const uint2*>(from));
    const float2 low = __half22float2(reinterpret_cast<const half2&>(pairs.x)), high = __half22float2(reinterpret_cast<const half2&>(pairs.y));
    return make_float4(low.x, low.y, high.x, high.y);
}

template <bool L2>
__device__ float added(float sum, const float4& x, const float4& y) {
    if (!L2) return fmaf(x.w, y.w, fmaf(x.z, y.z, fmaf(x.y, y.y, fmaf(x.x, y.x, sum))));
    const float a = x.x - y.x, b = x.y - y.y, c = x.z - y.z, d = x.w - y.w;
    return fmaf(d, d, fmaf(c, c, fmaf(b, b, fmaf(a, a, sum))));
}

/// Of blocks on one processor: so many that the memory is never idle, so few that their registers suffice.
constexpr int blocksAtOnce(int queries, int slots) { return queries * slots == 1 ? 4 : queries * slots == 2 ? 3 : 2; }

/// Each block's k best of its rows for each of Queries queries: queries x blocks x k candidates.
template <class Number, int Queries, int Slots, bool L2>
__global__ void __launch_bounds__(kLanes* kWarps, blocksAtOnce(Queries, Slots)) scan(const Number* vectors, int count, int d, const float* queries, int k, Candidate* candidates) {
    extern __shared__ float4 shared[];
    float* const ours = reinterpret_cast<float*>(shared);
    for (int i = threadIdx.x; i < Queries * d; i += blockDim.x) ours[i] = queries[i];
    __syncthreads();

    const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
    const int warps = gridDim.x * kWarps;
    Best<Slots> best[Queries];
    for (int64_t row = int64_t(blockIdx.x * kWarps + warp) * kRows; row < count; row += int64_t(warps) * kRows) {
        const Number* rows[kRows];
        float sums[kRows][Queries];
#pragma unroll
        for (int r = 0; r < kRows; r++) {
            rows[r] = vectors + min(row + r, int64_t(count) - 1) * d;
#pragma unroll
            for (int q = 0; q < Queries; q++) sums[r][q] = 0;
        }
        for (int at = 4 * lane; at < d; at += 4 * kLanes) {
            float4 x[kRows];
#pragma unroll
            for (int r = 0; r < kRows; r++) x[r] = four(rows[r] + at);
#pragma unroll
            for (int q = 0; q < Queries; q++) {
                const float4 y = *reinterpret_cast<const float4*>(ours + q * d + at);
#pragma unroll
                for (int r = 0; r < kRows; r++) sums[r][q] = added<L2>(sums[r][q], x[r], y);
            }
        }
#pragma unroll
        for (int r = 0; r < kRows; r++) {
#pragma unroll
            for (int q = 0; q < Queries; q++) {
                float sum = sums[r][q];
#pragma unroll
                for (int step = kLanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kAll, sum, step); // to the bit the same in every lane
                const Candidate found{L2 ? sum : -sum, int(row + r)};
                if (row + r < count && before(found, best[q].last)) best[q].insert(found, k);
            }
        }
    }

    __syncthreads(); // the queries have been read, and their place is free
    auto* const lists = reinterpret_cast<Candidate*>(shared);
#pragma unroll
    for (int q = 0; q < Queries; q++) best[q].write(lists + (q * kWarps + warp) * k, k);
    __syncthreads();
    for (int q = warp; q < Queries; q += kWarps) {
        bestOf<Slots>(lists + q * kWarps * k, kWarps * k, 0, 1, k).write(candidates + (int64_t(q) * gridDim.x + blockIdx.x) * k, k);
    }
}

/// Of each query's candidates the k best: block q for query q.
template <int Slots>
__global__ void __launch_bounds__(kLanes* kMergeWarps) merge(const Candidate* candidates, int count, int k, bool l2, float* distances, int64_t* labels) {
    extern __shared__ float4 shared[];
    auto* const lists = reinterpret_cast<Candidate*>(shared);
    const int warp = threadIdx.x / kLanes;
    bestOf<Slots>(candidates + int64_t(blockIdx.x) * count, count, warp, kMergeWarps, k).write(lists + warp * k, k);
    __syncthreads();
    if (warp > 0) return;
    const Best<Slots> best = bestOf<Slots>(lists, kMergeWarps * k, 0, 1, k);
#pragma unroll
    for (int s = 0; s < Slots; s++) {
        const int place = kLanes * s + threadIdx.x;
        if (place >= k) continue;
        const Candidate& each = best.own[s];
        distances[blockIdx.x * k + place] = l2 ? each.distance : -each.distance;
        labels[blockIdx.x * k + place] = each.id == INT_MAX ? -1 : each.id;
    }
}

void check(cudaError_t error) {
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        throw CudaOutOfMemory();
    }
    if (error != cudaSuccess) throw Error("ERR_CUDA_FAILED", std::string("a search failed: ") + cudaGetErrorString(error));
}

/// How many queries one pass over the vectors is for: as many as registers and shared memory hold.
int queriesAtOnce(int64_t left, int d, int k) {
    int queries = k > kLanes ? 4 : 8;
    while (queries > 1 && (queries / 2 >= left || queries * d * int(sizeof(float)) > kSharedBytes)) queries /= 2;
    return queries;
}

struct Search {
    const void* vectors;
    int count, d, k;
    bool half, l2;
    int processors;
    cudaStream_t stream;
};

/// Returns how many blocks it has.
template <class Number, int Queries, int Slots>
int launchScan(const Search& search, const float* queries, Candidate* candidates) {
    const size_t shared = std::max(Queries * search.d * sizeof(float), Queries * kWarps * search.k * sizeof(Candidate));
    const auto kernel = search.l2 ? scan<Number, Queries, Slots, true> : scan<Number, Queries, Slots, false>;
    // As many blocks as run at once: a few more would run almost alone, when the others are done.
    int blocks = 0;
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, kLanes * kWarps, shared));
    blocks = search.processors * std::clamp(blocks, 1, kBlocksPerProcessor);
    kernel<<<blocks, kLanes * kWarps, shared, search.stream>>>(static_cast<const Number*>(search.vectors), search.count, search.d, queries, search.k, candidates);
    return blocks;
}

template <class Number>
int launchScan(const Search& search, int n, const float* queries, Candidate* candidates) {
    const bool few = search.k <= kLanes;
    if (n == 8) return launchScan<Number, 8, 1>(search, queries, candidates); // which many neighbours have no registers for
    if (n == 4) return few ? launchScan<Number, 4, 1>(search, queries, candidates) : launchScan<Number, 4, 4>(search, queries, candidates);
    if (n == 2) return few ? launchScan<Number, 2, 1>(search, queries, candidates) : launchScan<Number, 2, 4>(search, queries, candidates);
    return few ? launchScan<Number, 1, 1>(search, queries, candidates) : launchScan<Number, 1, 4>(search, queries, candidates);
}

} // namespace

FlatScan::~FlatScan() {
    if (memory_ == nullptr) return;
    const faiss::gpu::DeviceScope here(device_);
    cudaFree(memory_);
}

void FlatScan::reserve(size_t bytes) {
    if (bytes <= bytes_) return;
    cudaFree(memory_);
    memory_ = nullptr, bytes_ = 0;
    check(cudaMalloc(&memory_, bytes));
    bytes_ = bytes;
}

bool FlatScan::takes(const faiss::gpu::GpuIndexFlat& index, int64_t n, int64_t k) {
    if (index.metric_type != faiss::METRIC_L2 && index.metric_type != faiss::METRIC_INNER_PRODUCT) return false;
    // Vectors are read in fours, of which a warp's lanes have one each.
    if (index.d % 4 != 0 || index.d < kLanes || index.d * int(sizeof(float)) > kSharedBytes) return false;
    if (k > 4 * kLanes || index.ntotal > INT_MAX - 1) return false;
    int64_t left = n;
    for (int pass = k > kLanes ? kPassesOfMany : kPasses; pass > 0 && left > 0; pass--) left -= queriesAtOnce(left, index.d, int(k));
    return left <= 0;
}

void FlatScan::search(faiss::gpu::GpuIndexFlat& index, int64_t n, const float* queries, int64_t k, float* distances, int64_t* labels,
                      cudaStream_t stream) {
    const faiss::gpu::DeviceScope here(device_);
    if (processors_ == 0) check(cudaDeviceGetAttribute(&processors_, cudaDevAttrMultiProcessorCount, device_));
    faiss::gpu::FlatIndex& flat = *index.getGpuData();
    Search search{nullptr, int(index.ntotal), index.d, int(k), flat.getUseFloat16(), index.metric_type == faiss::METRIC_L2, processors_, stream};
    if (search.count > 0) search.vectors = search.half ? static_cast<const void*>(flat.getVectorsFloat16Ref().data()) : flat.getVectorsFloat32Ref().data();

    // One pass is prepared while another runs, so each has candidates of its own.
    const size_t d = size_t(index.d), perQuery = size_t(processors_) * kBlocksPerProcessor * size_t(k), most = size_t(n) + 7;
    reserve(most * perQuery * sizeof(Candidate) + most * d * sizeof(float));
    auto* candidates = static_cast<Candidate*>(memory_);
    auto* there = reinterpret_cast<float*>(candidates + most * perQuery);
    check(cudaMemcpyAsync(there, queries, size_t(n) * d * sizeof(float), cudaMemcpyDefault, stream));
    for (int64_t left = n; left > 0;) {
        const int some = queriesAtOnce(left, index.d, int(k)); // may be more than are left: what lies behind them is read and dropped
        const int own = int(std::min<int64_t>(some, left));
        const int blocks = search.half ? launchScan<half>(search, some, there, candidates) : launchScan<float>(search, some, there, candidates);
        const auto merging = k <= kLanes ? merge<1> : merge<4>;
        merging<<<own, kLanes * kMergeWarps, kMergeWarps * size_t(k) * sizeof(Candidate), stream>>>(candidates, blocks * search.k, search.k, search.l2, distances, labels);
        check(cudaGetLastError());
        candidates += own * perQuery, there += own * d, distances += own * k, labels += own * k;
        left -= own;
    }
}

} // namespace faiss_vision
