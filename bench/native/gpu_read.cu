// How long a GPU needs to read memory once: the least that a search over all of it can take.
#include "gpu_read.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime.h>

namespace {

void check(cudaError_t error) {
    if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

__global__ void readAll(const float4* from, size_t count, float* sum) {
    float4 total = make_float4(0, 0, 0, 0);
    const size_t step = size_t(gridDim.x) * blockDim.x;
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) {
        const float4 x = from[i];
        total.x += x.x;
        total.y += x.y;
        total.z += x.z;
        total.w += x.w;
    }
    // Never so; but the compiler must not leave the reads out.
    if (total.x + total.y + total.z + total.w == -1.5f) *sum = total.x;
}

struct Memory {
    explicit Memory(size_t bytes) { check(cudaMalloc(&at, bytes)); }
    ~Memory() { cudaFree(at); }
    void* at = nullptr;
};

} // namespace

double readMicroseconds(int device, size_t bytes) {
    check(cudaSetDevice(device));
    const Memory memory(bytes), sum(sizeof(float));
    check(cudaMemset(memory.at, 0, bytes));
    int processors = 0;
    check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    cudaEvent_t begin, end;
    check(cudaEventCreate(&begin));
    check(cudaEventCreate(&end));
    double best = 1e30;
    for (int i = 0; i < 20; i++) {
        check(cudaEventRecord(begin));
        readAll<<<processors * 8, 256>>>(static_cast<const float4*>(memory.at), bytes / sizeof(float4), static_cast<float*>(sum.at));
        check(cudaGetLastError());
        check(cudaEventRecord(end));
        check(cudaEventSynchronize(end));
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, begin, end));
        best = std::min(best, double(milliseconds) * 1000);
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    return best;
}

std::shared_ptr<void> holdGpuMemory(int device, size_t leave) {
    check(cudaSetDevice(device));
    std::vector<std::shared_ptr<Memory>> pieces;
    // In pieces, since what is free need not lie together.
    for (size_t piece = size_t{1} << 32; piece >= size_t{1} << 20;) {
        size_t free = 0, total = 0;
        check(cudaMemGetInfo(&free, &total));
        void* at = nullptr;
        if (free < leave + piece || cudaMalloc(&at, piece) != cudaSuccess) {
            cudaGetLastError();
            piece /= 2;
            continue;
        }
        cudaFree(at);
        pieces.push_back(std::make_shared<Memory>(piece));
    }
    return std::make_shared<std::vector<std::shared_ptr<Memory>>>(std::move(pieces));
}
