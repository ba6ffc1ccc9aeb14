#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

#include "vision/cutting.h"
#include "vision/first_layer.h"

namespace faiss_vision::cuda {

// What starts kernels.cu's kernels, without torch's headers, which nvcc takes minutes for.

void launchCut(const int32_t* sums, const Cut* cuts, int64_t count, int64_t most, int64_t width, float* canvas, cudaStream_t stream);

void launchChips(const int32_t* sums, const ChipCut* cuts, int64_t count, int size, float* chips, cudaStream_t stream);

/// A picture whose pixels are added up: its first pixel, the first place of its sums, and its size.
struct Summed {
    int64_t pixels, sums, width, height;
};
void launchSums(const uint8_t* pixels, const Summed* pictures, int64_t count, int64_t highest, int64_t widest, int32_t* sums, cudaStream_t stream);

/// A level on its canvas, and the first of the blocks of threads that look at it.
struct LevelCut {
    Cut cut;
    int64_t block;
};
constexpr int kBlockPlaces = 16; ///< of the pooled maps, across and down, for each block
/// @param type    0 float, 1 half, 2 bfloat16
/// @param levels  count of them and one more, whose block is the number of all
/// @param width   of the canvas
void launchFirstLayer(int type, const int32_t* sums, const LevelCut* levels, int64_t count, int64_t blocks, int64_t width, const FirstLayer& layer,
                      void* maps, cudaStream_t stream);

/// @param type  0 float, 1 half, 2 bfloat16
void launchBiasPrelu(int type, void* maps, const void* bias, const void* slope, uint32_t channels, uint32_t pairs, cudaStream_t stream);

} // namespace faiss_vision::cuda
