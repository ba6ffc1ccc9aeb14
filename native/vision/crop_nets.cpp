#include "vision/mtcnn_layers.h"
#include "vision/mtcnn_nets.h"

namespace faiss_vision {
namespace {

/// Copies a map to count x count of its channels without the unused ends of its rows, as the dense layers read it.
void flatten(const FeatureMap& map, float* to) {
    const ptrdiff_t row = ptrdiff_t{map.width} * map.channels;
    for (int y = 0; y < map.height; y++) std::copy_n(map.row(y), row, to + y * row);
}

/// The dense layers run over all crops at once, so that their large weights are read once.
std::vector<CropAnswer> answers(const FeatureMap& features, const PackedConv& dense, const PackedConv& heads,
                                Workspace& workspace) {
    const FeatureMap logits = convolve(heads, convolve(dense, features, workspace), workspace);
    std::vector<CropAnswer> result(size_t(logits.width));
    for (int i = 0; i < logits.width; i++) {
        const float* values = logits.data + ptrdiff_t{i} * logits.channels;
        CropAnswer& answer = result[size_t(i)];
        answer = {mtcnn::faceScore(values), {values[2], values[3], values[4], values[5]}, {}};
        if (logits.channels == 16) std::copy_n(values + 6, 10, answer.landmarks.begin());
    }
    return result;
}

/// One of 3 x 3, by squares (vision/convolution.h), which the first layers have too few channels for.
Convolution square(const mtcnn::Parameters& layer) {
    return Convolution(layer.weight, layer.bias, {}, layer.slope, {}, Precision::Fp32, nullptr);
}

PackedConv packed(const mtcnn::Parameters& layer) { return PackedConv(layer.weight, layer.bias, layer.slope); }

FeatureMap convolve(const Convolution& conv, const FeatureMap& in, Workspace& workspace) {
    const FeatureMap out = workspace.map(in.height - 2, in.width - 2, conv.channels(), in.width - 2);
    const auto view = [](const FeatureMap& map) {
        return MapsView{map.data, 1, map.height, map.width, map.channels, 0, map.rowStep(), map.channels};
    };
    Steps::alone(1, [&](Steps::Walk& walk) { conv.run(view(in), view(out), nullptr, walk, workspace.convolution); });
    return out;
}

FeatureMap crop(const float* crops, int index, int side, Workspace& workspace) {
    const FeatureMap map = workspace.map(side, side, 3, side);
    const ptrdiff_t size = ptrdiff_t{3} * side * side;
    std::copy_n(crops + index * size, size, map.data);
    return map;
}

} // namespace

RNet::RNet(const Safetensors& weights)
    : conv1(packed(mtcnn::convolution(weights, "rnet", "1", 3, 28, 3))),
      conv2(square(mtcnn::convolution(weights, "rnet", "2", 28, 48, 3))),
      conv3(packed(mtcnn::convolution(weights, "rnet", "3", 48, 64, 2))),
      dense4(packed(mtcnn::flattened(weights, "rnet", "4", 3, 64, 128))),
      dense5(packed(mtcnn::heads(weights, "rnet.dense5", 128, false, false))) {}

std::vector<CropAnswer> RNet::forward(const float* crops, int count, Workspace& workspace) const {
    const size_t all = workspace.mark();
    const FeatureMap features = workspace.map(1, count, dense4.inChannels(), count);
    for (int i = 0; i < count; i++) {
        const size_t mark = workspace.mark();
        FeatureMap x = crop(crops, i, kSide, workspace);
        x = maxPool(convolve(conv1, x, workspace), 3, 2, workspace); // 11 x 11 x 28
        x = maxPool(convolve(conv2, x, workspace), 3, 2, workspace); // 4 x 4 x 48
        x = convolve(conv3, x, workspace);                           // 3 x 3 x 64
        flatten(x, features.data + ptrdiff_t{i} * features.channels);
        workspace.rewind(mark);
    }
    const std::vector<CropAnswer> result = answers(features, dense4, dense5, workspace);
    workspace.rewind(all);
    return result;
}

ONet::ONet(const Safetensors& weights)
    : conv1(packed(mtcnn::convolution(weights, "onet", "1", 3, 32, 3))),
      conv2(square(mtcnn::convolution(weights, "onet", "2", 32, 64, 3))),
      conv3(square(mtcnn::convolution(weights, "onet", "3", 64, 64, 3))),
      conv4(packed(mtcnn::convolution(weights, "onet", "4", 64, 128, 2))),
      dense5(packed(mtcnn::flattened(weights, "onet", "5", 3, 128, 256))),
      dense6(packed(mtcnn::heads(weights, "onet.dense6", 256, false, true))) {}

std::vector<CropAnswer> ONet::forward(const float* crops, int count, Workspace& workspace) const {
    const size_t all = workspace.mark();
    const FeatureMap features = workspace.map(1, count, dense5.inChannels(), count);
    for (int i = 0; i < count; i++) {
        const size_t mark = workspace.mark();
        FeatureMap x = crop(crops, i, kSide, workspace);
        x = maxPool(convolve(conv1, x, workspace), 3, 2, workspace); // 23 x 23 x 32
        x = maxPool(convolve(conv2, x, workspace), 3, 2, workspace); // 10 x 10 x 64
        x = maxPool(convolve(conv3, x, workspace), 2, 2, workspace); // 4 x 4 x 64
        x = convolve(conv4, x, workspace);                           // 3 x 3 x 128
        flatten(x, features.data + ptrdiff_t{i} * features.channels);
        workspace.rewind(mark);
    }
    const std::vector<CropAnswer> result = answers(features, dense5, dense6, workspace);
    workspace.rewind(all);
    return result;
}

} // namespace faiss_vision
