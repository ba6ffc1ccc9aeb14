#pragma once

#include <array>
#include <vector>

#include "vision/boxes.h"
#include "vision/image.h"
#include "vision/mtcnn_nets.h"
#include "vision/safetensors.h"

namespace faiss_vision {

struct MtcnnOptions {
    /// Smallest face to look for, in pixels, at least kSmallestFace. Time goes with 1 / minFaceSize squared.
    double minFaceSize = 20;
    /// Scores that the three networks must reach, between 0 and 1.
    std::array<double, 3> thresholds = {0.6, 0.7, 0.7};

    static constexpr double kSmallestFace = 6; ///< half of the window of 12 pixels: the picture is enlarged to twice its size
};

/// Five points (x, y): left eye, right eye, nose, left and right corner of the mouth, left and right as one sees them.
using Landmarks = std::array<std::array<float, 2>, 5>;

/// A face, in pixels of the picture. The box may stand over the picture's edges where the face does.
struct Detection {
    Box box;
    /// Relative to the whole box, as facenet-pytorch gives them.
    Landmarks landmarks;
    /// Relative to the part of the box inside the picture, which is all that the network was shown: the same for most
    /// faces, and where the eyes really are for a face that the picture's edge cuts. For aligning.
    Landmarks visibleLandmarks;
};

/// The face detector MTCNN (Zhang et al. 2016). Gives the boxes, scores and landmarks of facenet-pytorch's MTCNN(keep_all=True).
class Mtcnn {
public:
    /// Throws what Safetensors throws, and ERR_INVALID_ARGUMENT for options out of their range.
    explicit Mtcnn(const Safetensors& weights, const MtcnnOptions& options = {});

    /// The faces of each picture, largest first. All pictures go through each stage together.
    /// @param minFaceSizes  of each picture, 0 for that of the options; empty: 0 for all
    std::vector<std::vector<Detection>> detect(const std::vector<const RgbPixels*>& pictures, const std::vector<double>& minFaceSizes = {}) const;

private:
    using Candidates = std::vector<std::vector<Candidate>>; // by picture
    using Boxes = std::vector<std::vector<Box>>;
    struct Crop {
        size_t picture; // its index
        Box box;
        CropAnswer answer;
    };

    Boxes propose(const std::vector<const RgbPixels*>& pictures, const std::vector<double>& minFaceSizes) const;
    Boxes refine(const std::vector<const RgbPixels*>& pictures, const Boxes& boxes) const;
    std::vector<std::vector<Detection>> decide(const std::vector<const RgbPixels*>& pictures, const Boxes& boxes) const;
    template <class Net>
    std::vector<Crop> look(const Net& net, const std::vector<const RgbPixels*>& pictures, const Boxes& boxes) const;

    MtcnnOptions options_;
    PNet pnet_;
    RNet rnet_;
    ONet onet_;
};

} // namespace faiss_vision
