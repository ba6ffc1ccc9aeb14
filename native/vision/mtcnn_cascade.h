#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <vector>

#include "vision/area_resampler.h"
#include "vision/boxes.h"
#include "vision/mtcnn_nets.h"

namespace faiss_vision {

struct MtcnnOptions {
    /// Smallest face to look for, in pixels, at least kSmallestFace. Time goes with 1 / minFaceSize squared.
    double minFaceSize = 20;
    /// Scores that the three networks must reach, between 0 and 1.
    std::array<double, 3> thresholds = {0.6, 0.7, 0.7};

    static constexpr double kSmallestFace = 6; ///< half of the window of 12 pixels: the picture is enlarged to twice its size

    /// Itself. Throws ERR_INVALID_ARGUMENT where it is out of its range.
    const MtcnnOptions& checked() const;
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

/// What MTCNN does with boxes between and behind its networks, whoever runs those.
struct MtcnnCascade {
    struct Size {
        int width, height;
    };
    /// One level of a picture's pyramid. The first network's windows of a score that is enough, from top left to bottom right.
    struct Level {
        size_t picture; // its index
        double scale;
        int width, height;
        std::vector<Candidate> candidates;
    };
    /// A part of a picture that the second or the third network is shown, scaled to its size.
    struct Crop {
        size_t picture;
        Box box;
        AreaResampler::Rectangle pixels;
        CropAnswer answer;
    };
    std::function<void(std::vector<Level>&)> scan;
    std::function<void(std::vector<Crop>&)> refine, decide;

    /// The faces of each picture, largest first.
    /// @param minFaceSizes  of each picture, 0 for that of the options; empty: 0 for all
    std::vector<std::vector<Detection>> detect(const std::vector<Size>& pictures, const std::vector<double>& minFaceSizes, const MtcnnOptions& options) const;

private:
    using Boxes = std::vector<std::vector<Box>>; // by picture

    Boxes propose(const std::vector<Size>& pictures, const std::vector<double>& minFaceSizes, const MtcnnOptions& options) const;
};

} // namespace faiss_vision
