#include <algorithm>

#include <cuda_fp16.h>

#include "ann/cuda/flat_best.cuh"

namespace faiss_vision {
namespace {

constexpr int kWarps = 8; // of a block
constexpr int kRows = 4;  // that a warp reads at a time: so many reads are under way that the memory is never idle
constexpr int kBlocksPerProcessor = 4; // at most
constexpr int kSharedBytes = 48 * 1024;

__device__ float4 four(const float* from) { return *reinterpret_cast<const float4*>(from); }
__device__ float4 four(const half* from) {
    const uint2 pairs = *reinterpret_cast<const uint2*>(from);
    const float2 low = __half22float2(reinterpret_cast<const half2&>(pairs.x)), high = __half22float2(reinterpret_cast<const half2&>(pairs.y));
    return make_float4(low.x, low.y, high.x, high.y);
}

template <bool L2>
__device__ float added(float sum, const float4& x, const float4& y) {
    if (!L2) return fmaf(x.w, y.w, fmaf(x.z, y.z, fmaf(x.y, y.y, fmaf(x.x, y.x, sum))));
    const float a = x.x - y.x, b = x.y - y.y, c = x.z - y.z, d = x.w - y.w;
    return fmaf(d, d, fmaf(c, c, fmaf(b, b, fmaf(a, a, sum))));
}

/// Each block's k best of its rows for each of Queries queries: queries x blocks x k candidates.
template <class Number, int Queries, int Slots, bool L2>
__global__ void __launch_bounds__(kLanes* kWarps) scan(const Number* vectors, int count, int d, const float* queries, int k,
                                                       Candidate* candidates, int stride) {
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
                const float4 y = four(ours + q * d + at);
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
        bestOf<Slots>(lists + q * kWarps * k, kWarps * k, 0, 1, k).write(candidates + (int64_t(q) * stride + blockIdx.x) * k, k);
    }
}

/// How many queries one pass over the vectors is for: as many as registers and shared memory hold.
int queriesAtOnce(int left, int d, int k) {
    int queries = k > kLanes ? kScanned / 2 : kScanned;
    while (queries > 1 && (queries / 2 >= left || queries * d * int(sizeof(float)) > kSharedBytes)) queries /= 2;
    return queries;
}

/// Returns how many blocks it has.
template <class Number, int Queries, int Slots>
int launchScan(const FlatSearch& search, Candidate* candidates) {
    const size_t shared = std::max(Queries * search.d * sizeof(float), Queries * kWarps * search.k * sizeof(Candidate));
    const auto kernel = search.l2 ? scan<Number, Queries, Slots, true> : scan<Number, Queries, Slots, false>;
    // As many blocks as run at once: a few more would run almost alone, when the others are done.
    int blocks = 0;
    checkCuda(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, kLanes * kWarps, shared));
    blocks = search.processors * std::clamp(blocks, 1, kBlocksPerProcessor);
    kernel<<<blocks, kLanes * kWarps, shared, search.stream>>>(static_cast<const Number*>(search.vectors), search.count, search.d, search.queries,
                                                               search.k, candidates, blocks);
    return blocks;
}

template <class Number>
int launchScan(const FlatSearch& search, int queries, Candidate* candidates) {
    const bool few = search.k <= kLanes;
    if (queries == kScanned) return launchScan<Number, 8, 1>(search, candidates); // which many neighbours have no registers for
    if (queries == 4) return few ? launchScan<Number, 4, 1>(search, candidates) : launchScan<Number, 4, 4>(search, candidates);
    if (queries == 2) return few ? launchScan<Number, 2, 1>(search, candidates) : launchScan<Number, 2, 4>(search, candidates);
    return few ? launchScan<Number, 1, 1>(search, candidates) : launchScan<Number, 1, 4>(search, candidates);
}

} // namespace

int scanCandidates(const FlatSearch& search) { return search.processors * kBlocksPerProcessor * search.k; }

int mostScanned(int d, int k, bool half) {
    // Vectors are read in fours, of which a warp's lanes have one each.
    if (d % 4 != 0 || d < kLanes || d * int(sizeof(float)) > kSharedBytes) return 0;
    const int passes = !half ? 1 : k > kLanes ? 2 : 3; // of halves FAISS multiplies the matrices
    return passes * queriesAtOnce(INT_MAX, d, k);
}

void scanFlat(const FlatSearch& search, Candidate* candidates) {
    for (int begin = 0; begin < search.n;) {
        const int queries = queriesAtOnce(search.n - begin, search.d, search.k); // may be more than are left: what is behind them is dropped
        const FlatSearch part = search.part(begin, std::min(queries, search.n - begin));
        const int blocks = search.half ? launchScan<half>(part, queries, candidates) : launchScan<float>(part, queries, candidates);
        checkCuda(cudaGetLastError());
        mergeCandidates(part, candidates, blocks * search.k);
        begin += part.n;
    }
}

} // namespace faiss_vision
