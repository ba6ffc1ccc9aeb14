#include "vision/feature_map.h"

namespace faiss_vision {

FeatureMap convolve(const PackedConv& conv, const FeatureMap& in, Workspace& workspace) {
    const int height = in.height - conv.kernelHeight() + 1, width = in.width - conv.kernelWidth() + 1;
    const FeatureMap out = workspace.map(height, width, conv.channels(), in.pitch);
    std::vector<const float*> rows;
    for (int y = 0; y < conv.kernelHeight(); y++) rows.push_back(in.row(y));
    // One run over all rows: the positions between the end of a row and the next one are computed for nothing,
    // which costs less than blocks that are cut at every row.
    const int64_t positions = int64_t{height - 1} * in.pitch + width;
    for (int group = 0; group < conv.groups(); group++) {
        kernels::convolve(conv, group,
                          {rows.data(), in.channels, positions, out.data + group * PackedConv::kGroup, out.channels});
    }
    return out;
}

FeatureMap maxPool(const FeatureMap& in, int window, int stride, Workspace& workspace) {
    const auto pooled = [&](int size) { return (size - window + stride - 1) / stride + 1; };
    const FeatureMap out = workspace.map(pooled(in.height), pooled(in.width), in.channels, pooled(in.width));
    for (int y = 0; y < out.height; y++) {
        const int rows = std::min(window, in.height - y * stride);
        kernels::maxPool({in.row(y * stride), in.rowStep(), rows, in.width, in.channels, window, stride, out.row(y), out.width});
    }
    return out;
}

} // namespace faiss_vision
