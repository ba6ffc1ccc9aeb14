#include <algorithm>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "vision/cuda/launch.h"

namespace faiss_vision::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void cutAll(const int32_t* sums, const Cut* cuts, int64_t width, float* canvas) {
    const Cut cut = cuts[blockIdx.x];
    const int64_t n = cut.columns * cut.rows, threads = int64_t(gridDim.y) * kThreads;
    for (int64_t i = int64_t(blockIdx.y) * kThreads + threadIdx.x; i < n; i += threads) cutPixel(sums, cut, i, width, canvas);
}

template <class Number>
struct alignas(2 * sizeof(Number)) Pair {
    Number first, second;
};

/// Two channels a thread.
template <class Number>
__global__ void biasPrelu(Pair<Number>* maps, const Pair<Number>* bias, const Pair<Number>* slope, uint32_t channelPairs, uint32_t pairs) {
    const auto one = [](Number value, Number bias, Number slope) {
        const float sum = float(value) + float(bias);
        return Number(sum > 0 ? sum : sum * float(slope));
    };
    const uint32_t threads = gridDim.x * kThreads;
    for (uint32_t i = blockIdx.x * kThreads + threadIdx.x; i < pairs; i += threads) {
        const uint32_t channel = i % channelPairs;
        const Pair<Number> value = maps[i], b = bias[channel], s = slope[channel];
        maps[i] = {one(value.first, b.first, s.first), one(value.second, b.second, s.second)};
    }
}

template <class Number>
void startBiasPrelu(void* maps, const void* bias, const void* slope, uint32_t channels, uint32_t pairs, cudaStream_t stream) {
    const uint32_t blocks = std::min<uint32_t>((pairs + kThreads - 1) / kThreads, 1 << 14);
    biasPrelu<<<blocks, kThreads, 0, stream>>>(static_cast<Pair<Number>*>(maps), static_cast<const Pair<Number>*>(bias),
                                               static_cast<const Pair<Number>*>(slope), channels / 2, pairs);
}

} // namespace

void launchCut(const int32_t* sums, const Cut* cuts, int64_t count, int64_t most, int64_t width, float* canvas, cudaStream_t stream) {
    const int64_t blocks = std::clamp<int64_t>((most + kThreads - 1) / kThreads, 1, 1024);
    cutAll<<<dim3(unsigned(count), unsigned(blocks)), kThreads, 0, stream>>>(sums, cuts, width, canvas);
}

void launchBiasPrelu(int type, void* maps, const void* bias, const void* slope, uint32_t channels, uint32_t pairs, cudaStream_t stream) {
    const auto start = type == 0 ? startBiasPrelu<float> : type == 1 ? startBiasPrelu<__half> : startBiasPrelu<__nv_bfloat16>;
    start(maps, bias, slope, channels, pairs, stream);
}

} // namespace faiss_vision::cuda
