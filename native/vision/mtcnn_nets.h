#pragma once

#include <array>
#include <vector>

#include "vision/area_resampler.h"
#include "vision/boxes.h"
#include "vision/feature_map.h"
#include "vision/safetensors.h"
#include "vision/tiles.h"

/// The three networks of MTCNN (Zhang et al. 2016, "Joint Face Detection and Alignment using Multitask Cascaded
/// Convolutional Networks", figure 2), with the widths and the paddings of facenet-pytorch's weights.
namespace faiss_vision {

/// Looks at every 12 x 12 window of a scaled picture, 2 pixels apart.
struct PNet {
    static constexpr int kCell = 12, kStride = 2;
    static constexpr int kSquare = 4; ///< rows and columns of the grid that are computed together

    explicit PNet(const Safetensors& weights);

    tiles::Layer conv1, conv2, conv3;        // 3 x 3, of 10, 16 and 32, PReLU; behind the first a max pool of 2 x 2
    std::array<std::vector<float>, 6> heads; // 1 x 1: no face, face; left, top, right, bottom
    std::vector<float> headsBias;
    std::vector<float> faceness; // the second less the first of them

    /// Rows of the grid of windows over a scaled picture of that height (or columns for its width).
    static int gridSize(int size) { return (size - 1) / 2 - 4; }

    /// What the network says of one cell of that grid, as a window of the picture whose level has that scale.
    static Candidate candidate(int x, int y, double scale, float score, const Offsets& offsets);

    /// Grid rows [begin, end) of one level of the pyramid. Goes band by band with a few rows of each layer in memory,
    /// so a tall picture needs no more of it than a small one.
    /// @param begin  a multiple of kSquare: so the answers do not depend on where the work is cut
    /// @param scale  of the level, to find the window in the picture again
    /// @return the windows of score >= threshold, from top left to bottom right
    std::vector<Candidate> scan(const AreaResampler& level, int begin, int end, double scale, double threshold,
                                Workspace& workspace) const;
};

/// What the second and the third network say of a crop.
struct CropAnswer {
    float score;
    Offsets offsets;
    std::array<float, 10> landmarks; ///< five x, then five y, in widths and heights of the crop; the third network's only
};

/// Rejects most of the first network's candidates.
struct RNet {
    static constexpr int kSide = 24;

    explicit RNet(const Safetensors& weights);

    PackedConv conv1;
    Convolution conv2;
    PackedConv conv3, dense4, dense5;

    /// @param crops  count x 24 x 24 x 3
    std::vector<CropAnswer> forward(const float* crops, int count, Workspace& workspace) const;
};

/// Decides, and finds the landmarks.
struct ONet {
    static constexpr int kSide = 48;

    explicit ONet(const Safetensors& weights);

    PackedConv conv1;
    Convolution conv2, conv3;
    PackedConv conv4, dense5, dense6;

    /// @param crops  count x 48 x 48 x 3
    std::vector<CropAnswer> forward(const float* crops, int count, Workspace& workspace) const;
};

} // namespace faiss_vision
