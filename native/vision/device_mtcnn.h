#pragma once

#include <string>
#include <vector>

#include "vision/device_convolution.h"
#include "vision/device_pictures.h"
#include "vision/mtcnn_cascade.h"
#include "vision/safetensors.h"

namespace faiss_vision {

/// vision/mtcnn.h's Mtcnn with its networks in torch's own operations, for other devices than the CPU. Pictures stay on the
/// device; what comes back between the networks is boxes, scores and landmarks, which the cascade sorts out on the CPU.
class DeviceMtcnn {
public:
    /// Throws what Safetensors and MtcnnOptions::checked throw. Within Device::run.
    DeviceMtcnn(const Safetensors& weights, const MtcnnOptions& options, const std::shared_ptr<const Device>& device);

    /// The faces of each picture, largest first. Within Device::run.
    /// @param minFaceSizes  of each picture, 0 for that of the options
    std::vector<std::vector<Detection>> detect(const DevicePictures& pictures, const std::vector<double>& minFaceSizes);

private:
    using Levels = std::vector<MtcnnCascade::Level>;
    using Crops = std::vector<MtcnnCascade::Crop>;

    /// A network's last layers side by side: two logits, four offsets and, for the third network, ten landmarks.
    struct CropNet {
        std::vector<DeviceConvolution> convolutions;
        std::vector<int64_t> pools; // the window of the pool behind each, 0 for none
        DeviceConvolution dense, heads;

        at::Tensor forward(const at::Tensor& crops) const;
    };
    struct Loader;
    struct Canvas;

    DeviceMtcnn(const Loader& load, const MtcnnOptions& options);
    void scan(const DevicePictures& pictures, Levels& levels) const;
    at::Tensor firstLayer(const DevicePictures& pictures, const Canvas& canvas) const;
    void look(Batched& net, int side, const DevicePictures& pictures, Crops& crops) const;
    /// Numbers from 0 to 255, n x height x width x 3, as the networks read them.
    at::Tensor input(const at::Tensor& pixels) const;
    /// The second logit's share, in front of what follows the logits.
    at::Tensor scored(const at::Tensor& answers) const;

    const std::shared_ptr<const Device> device_;
    const MtcnnOptions options_;
    const FirstLayer firstLayer_; // of pnet1_
    DeviceConvolution pnet1_, pnet2_, pnet3_, pnet4_;
    CropNet rnet_, onet_;
    Batched refine_, decide_;
};

} // namespace faiss_vision
