#include "vision/cuda/kernels.h"

#include <cstdint>

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include "vision/cuda/launch.h"

namespace faiss_vision::cuda {

void cut(const at::Tensor& sums, const at::Tensor& cuts, int64_t most, const at::Tensor& canvas) {
    static_assert(sizeof(Cut) == 7 * sizeof(int64_t), "cuts go up as they are");
    if (cuts.size(0) == 0) return;
    launchCut(sums.data_ptr<int32_t>(), reinterpret_cast<const Cut*>(cuts.data_ptr<int64_t>()), cuts.size(0), most, canvas.size(-2),
              canvas.data_ptr<float>(), c10::cuda::getCurrentCUDAStream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
}

void cutChips(const at::Tensor& sums, const at::Tensor& cuts, const at::Tensor& chips) {
    static_assert(sizeof(ChipCut) == 14 * sizeof(int64_t), "they go up as they are");
    launchChips(sums.data_ptr<int32_t>(), reinterpret_cast<const ChipCut*>(cuts.data_ptr<int64_t>()), cuts.size(0), int(chips.size(1)),
                chips.data_ptr<float>(), c10::cuda::getCurrentCUDAStream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
}

void addUp(const at::Tensor& pixels, const at::Tensor& pictures, int64_t highest, int64_t widest, const at::Tensor& sums) {
    static_assert(sizeof(Summed) == 4 * sizeof(int64_t), "they go up as they are");
    launchSums(pixels.data_ptr<uint8_t>(), reinterpret_cast<const Summed*>(pictures.data_ptr<int64_t>()), pictures.size(0), highest, widest,
               sums.data_ptr<int32_t>(), c10::cuda::getCurrentCUDAStream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
}

namespace {

/// As launch.h counts types; -1 for others.
int typeOf(const at::Tensor& maps) {
    return maps.scalar_type() == at::kFloat ? 0 : maps.scalar_type() == at::kHalf ? 1 : maps.scalar_type() == at::kBFloat16 ? 2 : -1;
}

} // namespace

void firstLayer(const at::Tensor& sums, const std::vector<Cut>& cuts, int64_t width, const FirstLayer& layer, const Device& device, const at::Tensor& maps) {
    static_assert(sizeof(LevelCut) == 8 * sizeof(int64_t), "they go up as they are");
    std::vector<int64_t> table;
    int64_t blocks = 0;
    for (const Cut& cut : cuts) {
        table.insert(table.end(), {cut.corner, cut.step, cut.width, cut.height, cut.columns, cut.rows, cut.to, blocks});
        const auto along = [](int64_t length) { return (FirstLayer::places(length) + kBlockPlaces - 1) / kBlockPlaces; };
        blocks += along(cut.columns) * along(cut.rows);
    }
    table.insert(table.end(), {0, 0, 0, 0, 0, 0, 0, blocks});
    if (blocks == 0) return;
    const at::Tensor levels = device.up(table, {int64_t(cuts.size()) + 1, 8});
    launchFirstLayer(typeOf(maps), sums.data_ptr<int32_t>(), reinterpret_cast<const LevelCut*>(levels.data_ptr<int64_t>()), int64_t(cuts.size()), blocks,
                     width, layer, maps.data_ptr(), c10::cuda::getCurrentCUDAStream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
}

bool addBiasAndPrelu(const at::Tensor& maps, const at::Tensor& bias, const at::Tensor& slope) {
    const int type = typeOf(maps);
    const int64_t channels = maps.size(1), numbers = maps.numel();
    if (type < 0 || channels % 2 != 0 || numbers >= INT32_MAX || !maps.is_contiguous(at::MemoryFormat::ChannelsLast)) return false;
    if (numbers == 0) return true;
    launchBiasPrelu(type, maps.data_ptr(), bias.data_ptr(), slope.data_ptr(), uint32_t(channels), uint32_t(numbers / 2),
                    c10::cuda::getCurrentCUDAStream());
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    return true;
}

} // namespace faiss_vision::cuda
