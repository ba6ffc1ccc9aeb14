#include <algorithm>

#include <cublas_v2.h>

#include "ann/cuda/flat_best.cuh"

namespace faiss_vision {
namespace {

constexpr int kWarps = 8; // of a block
constexpr int kFour = 4;  // numbers that a lane reads at a time
constexpr int kWarpsPerProcessor = 32;
constexpr int64_t kProducts = int64_t{1} << 25; // at once: 128 MB

/// Squared lengths, by one warp a vector.
__global__ void squaredLengths(const float* vectors, int count, int d, float* lengths) {
    const int lane = threadIdx.x % kLanes;
    for (int64_t row = int64_t(blockIdx.x) * kWarps + threadIdx.x / kLanes; row < count; row += int64_t(gridDim.x) * kWarps) {
        float sum = 0;
        for (int at = lane; at < d; at += kLanes) {
            const float x = vectors[row * d + at];
            sum = fmaf(x, x, sum);
        }
        for (int step = kLanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kAll, sum, step);
        if (lane == 0) lengths[row] = sum;
    }
}

/// Goes through the products of each query with `count` vectors, `stride` numbers from one query to the next. `strips` warps share a
/// query's, and each keeps its k best from one call to the next: queries x strips x k candidates.
/// @param lengths  the vectors' squared lengths; nullptr for inner products
/// @param first    the first vector's id
template <int Slots>
__global__ void __launch_bounds__(kLanes* kWarps) select(const float* products, int64_t stride, const float* lengths, int count, int first,
                                                         int n, int strips, int k, Candidate* candidates) {
    const int warp = blockIdx.x * kWarps + threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
    const int query = warp / strips, strip = warp % strips;
    if (query >= n) return;
    const float* const own = products + query * stride;
    Candidate* const kept = candidates + int64_t(warp) * k;
    Best<Slots> best;
    if (first > 0) best.read(kept, k);
    constexpr int kChunk = kFour * kLanes;
    for (int64_t begin = int64_t(strip) * kChunk; begin < count; begin += int64_t(strips) * kChunk) {
        const int at = int(begin) + kFour * lane;
        float values[kFour];
        if (at < count) { // rows are padded to fours
            const float4 four = *reinterpret_cast<const float4*>(own + at);
            values[0] = four.x, values[1] = four.y, values[2] = four.z, values[3] = four.w;
        }
#pragma unroll
        for (int i = 0; i < kFour; i++) {
            Candidate candidate = none();
            if (at + i < count) candidate = {lengths != nullptr ? fmaf(-2, values[i], lengths[at + i]) : -values[i], first + at + i};
            best.offer(candidate, k);
        }
    }
    best.write(kept, k);
}

int stripsOf(const FlatSearch& search) { return std::clamp(search.processors * kWarpsPerProcessor / std::max(1, search.n), 1, 256); }

int padded(int count) { return (count + kFour - 1) / kFour * kFour; }

/// Vectors at once.
int64_t columnsOf(const FlatSearch& search) {
    const int64_t fit = std::max<int64_t>(kProducts / search.n / kFour * kFour, 4096);
    return std::min<int64_t>(padded(std::max(1, search.count)), fit);
}

void check(cublasStatus_t status) {
    if (status != CUBLAS_STATUS_SUCCESS) throw Error("ERR_CUDA_FAILED", "a search failed: cuBLAS says " + std::to_string(int(status)));
}

} // namespace

ProductsRoom productsRoom(const FlatSearch& search) { return {columnsOf(search) * search.n, int64_t(stripsOf(search)) * search.k}; }

void multiplyFlat(const FlatSearch& search, cublasHandle_t blas, float* products, Candidate* candidates) {
    const int most = int(columnsOf(search)), strips = stripsOf(search), d = search.d;
    float* const lengths = products + productsRoom(search).products;
    const auto blocks = [](int64_t warps) { return unsigned((warps + kWarps - 1) / kWarps); };
    check(cublasSetStream(blas, search.stream));
    if (search.l2) {
        squaredLengths<<<blocks(search.n), kLanes * kWarps, 0, search.stream>>>(search.queries, search.n, d, const_cast<float*>(search.norms));
    }
    const auto* const vectors = static_cast<const float*>(search.vectors);
    int first = 0;
    do { // once where there are none, too: each query's candidates are none then
        const int count = std::min(most, search.count - first), stride = padded(count);
        if (count > 0) {
            const float* const some = vectors + int64_t(first) * d;
            if (search.l2) {
                const unsigned grid = std::min(blocks(count), unsigned(search.processors) * 8);
                squaredLengths<<<grid, kLanes * kWarps, 0, search.stream>>>(some, count, d, lengths);
            }
            const float one = 1, zero = 0;
            check(cublasSgemmEx(blas, CUBLAS_OP_T, CUBLAS_OP_N, count, search.n, d, &one, some, CUDA_R_32F, d, search.queries, CUDA_R_32F, d, &zero,
                                products, CUDA_R_32F, stride));
        }
        const auto kernel = search.k <= kLanes ? select<1> : select<4>;
        const float* const added = search.l2 ? lengths : nullptr;
        kernel<<<blocks(int64_t(search.n) * strips), kLanes * kWarps, 0, search.stream>>>(products, stride, added, count, first, search.n, strips,
                                                                                          search.k, candidates);
        checkCuda(cudaGetLastError());
        first += count;
    } while (first < search.count);
    mergeCandidates(search, candidates, strips * search.k);
}

} // namespace faiss_vision
