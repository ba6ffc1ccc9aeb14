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
    for (int64_t i = int64_t(blockIdx.y) * kThreads + threadIdx.x; i < n; i += threads) cutOnto(canvas, width, sums, cut, i);
}

__global__ void cutChips(const int32_t* sums, const ChipCut* cuts, int size, float* chips) {
    const ChipCut cut = cuts[blockIdx.x];
    const int64_t n = int64_t(size) * size, i = int64_t(blockIdx.y) * kThreads + threadIdx.x;
    if (i < n) chipPixel(sums, cut, i, size, chips + 3 * n * blockIdx.x);
}

constexpr unsigned kWhole = 0xffffffff; // all threads of a warp
constexpr int kWarp = 32, kRows = kThreads / kWarp;

/// Sums along each row, by one warp a row. Without signs, as they may run over.
__global__ void addUpRows(const uint8_t* pixels, const Summed* pictures, int32_t* sums) {
    const Summed picture = pictures[blockIdx.x];
    const int lane = int(threadIdx.x) % kWarp;
    for (int64_t row = int64_t(blockIdx.y) * kRows + threadIdx.x / kWarp; row < picture.height; row += int64_t(gridDim.y) * kRows) {
        const uint8_t* const from = pixels + 3 * (picture.pixels + row * picture.width);
        int32_t* const to = sums + 3 * (picture.sums + (row + 1) * (picture.width + 1));
        if (lane < 3) to[lane] = 0;
        uint32_t before[3] = {0, 0, 0};
        for (int64_t begin = 0; begin < picture.width; begin += kWarp) {
            const int64_t x = begin + lane;
            const bool inside = x < picture.width;
            for (int c = 0; c < 3; c++) {
                uint32_t sum = inside ? from[3 * x + c] : 0;
                for (int distance = 1; distance < kWarp; distance *= 2) {
                    const uint32_t left = __shfl_up_sync(kWhole, sum, unsigned(distance));
                    if (lane >= distance) sum += left;
                }
                sum += before[c];
                if (inside) to[3 * (x + 1) + c] = int32_t(sum);
                before[c] = __shfl_sync(kWhole, sum, kWarp - 1);
            }
        }
    }
}

/// Then down each column, by one thread for each of its three numbers.
__global__ void addUpColumns(const Summed* pictures, int32_t* sums) {
    const Summed picture = pictures[blockIdx.x];
    const int64_t step = 3 * (picture.width + 1);
    for (int64_t column = int64_t(blockIdx.y) * kThreads + threadIdx.x; column < step; column += int64_t(gridDim.y) * kThreads) {
        int32_t* at = sums + 3 * picture.sums + column;
        *at = 0;
        uint32_t sum = 0;
        constexpr int kAhead = 8; // read at once, as each read takes long
        int64_t left = picture.height;
        for (; left >= kAhead; left -= kAhead) {
            uint32_t values[kAhead];
            for (int i = 0; i < kAhead; i++) values[i] = uint32_t(at[(i + 1) * step]);
            for (int i = 0; i < kAhead; i++) at[(i + 1) * step] = int32_t(sum += values[i]);
            at += kAhead * step;
        }
        for (; left > 0; left--) {
            at += step;
            *at = int32_t(sum += uint32_t(*at));
        }
    }
}

/// One block for a square of a level's places: its pixels are cut out into the block's own memory, and each thread has one place.
template <class Number>
__global__ void __launch_bounds__(kBlockPlaces * kBlockPlaces)
    firstLayer(const int32_t* sums, const LevelCut* levels, int64_t count, int64_t width, const FirstLayer layer, Number* maps) {
    int64_t low = 0, high = count; // the last level whose block is not behind this one
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        (levels[middle].block <= int64_t(blockIdx.x) ? low : high) = middle;
    }
    const Cut cut = levels[low].cut;
    const int columns = int(FirstLayer::places(cut.columns)), rows = int(FirstLayer::places(cut.rows));
    const int across = (columns + kBlockPlaces - 1) / kBlockPlaces, block = int(blockIdx.x - levels[low].block);
    const int firstColumn = block % across * kBlockPlaces, firstRow = block / across * kBlockPlaces;

    constexpr int kSide = 2 * kBlockPlaces + 2, kStep = 3 * kSide + 1; // not a multiple of the number of banks
    __shared__ float pixels[kSide * kStep];
    for (int i = int(threadIdx.x); i < kSide * kSide; i += kBlockPlaces * kBlockPlaces) {
        const int y = i / kSide, x = i - y * kSide, row = 2 * firstRow + y, column = 2 * firstColumn + x;
        if (row >= cut.rows || column >= cut.columns) continue; // no place looks there
        float pixel[3];
        cutPixel(sums, cut, column, row, pixel);
        for (int c = 0; c < 3; c++) pixels[y * kStep + 3 * x + c] = FirstLayer::input(pixel[c]);
    }
    __syncthreads();
    const int x = int(threadIdx.x) % kBlockPlaces, y = int(threadIdx.x) / kBlockPlaces, column = firstColumn + x, row = firstRow + y;
    if (column >= columns || row >= rows) return;
    float found[FirstLayer::kMaps];
    layer.at(pixels + 2 * y * kStep + 6 * x, kStep, 2 * column + 3 < cut.columns, 2 * row + 3 < cut.rows, found);
    const int64_t top = cut.to / width, left = cut.to - top * width;
    Number* const to = maps + ((top / 2 + row) * (width / 2 - 1) + left / 2 + column) * FirstLayer::kMaps;
    for (int map = 0; map < FirstLayer::kMaps; map++) to[map] = Number(found[map]);
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

void launchChips(const int32_t* sums, const ChipCut* cuts, int64_t count, int size, float* chips, cudaStream_t stream) {
    cutChips<<<dim3(unsigned(count), unsigned((size * size + kThreads - 1) / kThreads)), kThreads, 0, stream>>>(sums, cuts, size, chips);
}

void launchSums(const uint8_t* pixels, const Summed* pictures, int64_t count, int64_t highest, int64_t widest, int32_t* sums, cudaStream_t stream) {
    const auto blocks = [&](int64_t all, int64_t each) {
        return dim3(unsigned(count), unsigned(std::clamp<int64_t>((all + each - 1) / each, 1, 65535)));
    };
    addUpRows<<<blocks(highest, kRows), kThreads, 0, stream>>>(pixels, pictures, sums);
    addUpColumns<<<blocks(3 * (widest + 1), kThreads), kThreads, 0, stream>>>(pictures, sums);
}

void launchFirstLayer(int type, const int32_t* sums, const LevelCut* levels, int64_t count, int64_t blocks, int64_t width, const FirstLayer& layer,
                      void* maps, cudaStream_t stream) {
    const auto start = [&](auto* to) {
        firstLayer<<<unsigned(blocks), kBlockPlaces * kBlockPlaces, 0, stream>>>(sums, levels, count, width, layer, to);
    };
    if (type == 0) start(static_cast<float*>(maps));
    else if (type == 1) start(static_cast<__half*>(maps));
    else start(static_cast<__nv_bfloat16*>(maps));
}

void launchBiasPrelu(int type, void* maps, const void* bias, const void* slope, uint32_t channels, uint32_t pairs, cudaStream_t stream) {
    const auto start = type == 0 ? startBiasPrelu<float> : type == 1 ? startBiasPrelu<__half> : startBiasPrelu<__nv_bfloat16>;
    start(maps, bias, slope, channels, pairs, stream);
}

} // namespace faiss_vision::cuda
