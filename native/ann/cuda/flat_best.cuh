#pragma once

#include <cfloat>
#include <climits>
#include <cstdint>
#include <string>

#include <cuda_runtime.h>

#include "ann/cuda/device.h"
#include "error.h"

namespace faiss_vision {

/// What both ways of searching a flat index (flat_search.h) share: what each warp keeps, and what becomes of it.

constexpr int kLanes = 32;
constexpr unsigned kAll = 0xffffffff;
constexpr int kMostNeighbours = 4 * kLanes;

struct alignas(8) Candidate {
    float distance;
    int id;
};

/// The lower the better; an inner product counts negative.
__device__ inline bool before(const Candidate& a, const Candidate& b) { return a.distance < b.distance || (a.distance == b.distance && a.id < b.id); }

__device__ inline Candidate none() { return {FLT_MAX, INT_MAX}; }

/// The k best that a warp has seen, in order: place 32 * s + lane is each lane's own [s].
template <int Slots>
struct Best {
    Candidate own[Slots];
    Candidate last; // the k-th, the same in every lane

    __device__ Best() : last(none()) {
        for (Candidate& each : own) each = none();
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
                const Candidate& left = own[s > 0 ? s - 1 : 0];
                const Candidate carried{__shfl_sync(kAll, left.distance, kLanes - 1), __shfl_sync(kAll, left.id, kLanes - 1)};
                if (lane == 0) moved = carried;
            }
            const int at = kLanes * s + lane;
            if (at > place) own[s] = moved;
            else if (at == place) own[s] = found;
        }
        findLast(k);
    }

    __device__ void findLast(int k) {
#pragma unroll
        for (int s = 0; s < Slots; s++) {
            if ((k - 1) / kLanes != s) continue;
            last = {__shfl_sync(kAll, own[s].distance, (k - 1) % kLanes), __shfl_sync(kAll, own[s].id, (k - 1) % kLanes)};
        }
    }

    /// Each lane brings a candidate of its own, or none().
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

    /// Goes on from what was written.
    __device__ void read(const Candidate* from, int k) {
#pragma unroll
        for (int s = 0; s < Slots; s++) {
            const int at = kLanes * s + threadIdx.x % kLanes;
            own[s] = at < k ? from[at] : none();
        }
        findLast(k);
    }
};

/// One warp's best of `count` candidates that lie anywhere, `step` chunks of 32 apart.
template <int Slots>
__device__ Best<Slots> bestOf(const Candidate* from, int count, int first, int step, int k) {
    Best<Slots> best;
    for (int begin = first * kLanes; begin < count; begin += step * kLanes) {
        const int at = begin + threadIdx.x % kLanes;
        best.offer(at < count ? from[at] : none(), k);
    }
    return best;
}

/// A search as both ways take it. `queries` and `norms` lie on the GPU; norms are the queries' squared lengths, where they are still to
/// be added to distances, else nullptr.
struct FlatSearch {
    const void* vectors;
    int count, d, k;
    bool half, l2;
    int processors;
    cudaStream_t stream;
    int n;
    const float *queries, *norms;
    float* distances;
    int64_t* labels;

    /// The same for `count` of its queries.
    FlatSearch part(int begin, int many) const {
        FlatSearch part = *this;
        part.n = many;
        part.queries += int64_t(begin) * d;
        if (norms != nullptr) part.norms += begin;
        part.distances += int64_t(begin) * k;
        part.labels += int64_t(begin) * k;
        return part;
    }
};

inline void checkCuda(cudaError_t error) {
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        throw CudaOutOfMemory();
    }
    if (error != cudaSuccess) throw Error("ERR_CUDA_FAILED", std::string("a search failed: ") + cudaGetErrorString(error));
}

/// Of each of its queries' `count` candidates the k best become the results.
void mergeCandidates(const FlatSearch& search, const Candidate* candidates, int count);

constexpr int kScanned = 8; // queries of one pass, at most: so many are read, however many there are

/// How many candidates a pass makes for each of its queries, which is what `candidates` has room for.
int scanCandidates(const FlatSearch& search);
void scanFlat(const FlatSearch& search, Candidate* candidates);

/// How many queries are for the scan: those that take fewer passes than the other way.
int mostScanned(int d, int k, bool half);

/// Room for products, in numbers, and in candidates for each query.
struct ProductsRoom {
    int64_t products, candidates;
};
ProductsRoom productsRoom(const FlatSearch& search);
/// @param products  room.products numbers, then as many as there are vectors for their squared lengths
void multiplyFlat(const FlatSearch& search, cublasHandle_t blas, float* products, Candidate* candidates);
constexpr int kQueriesAtOnce = 2048; // by products

} // namespace faiss_vision
