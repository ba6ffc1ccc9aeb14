#pragma once

#include <vector>

#include "vision/image.h"
#include "vision/mtcnn_cascade.h"
#include "vision/safetensors.h"

namespace faiss_vision {

/// The face detector MTCNN (Zhang et al. 2016). Gives the boxes, scores and landmarks of facenet-pytorch's MTCNN(keep_all=True).
class Mtcnn {
public:
    /// Throws what Safetensors throws, and ERR_INVALID_ARGUMENT for options out of their range.
    explicit Mtcnn(const Safetensors& weights, const MtcnnOptions& options = {});

    /// The faces of each picture, largest first. All pictures go through each stage together.
    /// @param minFaceSizes  of each picture, 0 for that of the options; empty: 0 for all
    std::vector<std::vector<Detection>> detect(const std::vector<const RgbPixels*>& pictures, const std::vector<double>& minFaceSizes = {}) const;

private:
    using Levels = std::vector<MtcnnCascade::Level>;
    using Crops = std::vector<MtcnnCascade::Crop>;

    void scan(const std::vector<const RgbPixels*>& pictures, Levels& levels) const;
    template <class Net>
    void look(const Net& net, const std::vector<const RgbPixels*>& pictures, Crops& crops) const;

    MtcnnOptions options_;
    PNet pnet_;
    RNet rnet_;
    ONet onet_;
};

} // namespace faiss_vision
