#include "vision/mtcnn_nets.h"

#include "vision/mtcnn_layers.h"

namespace faiss_vision {
namespace {

/// The last rows of one layer: row y lies at y modulo their number.
struct RollingRows {
    RollingRows(int count, int width, int channels, Workspace& workspace) : channels(channels), width(width) {
        for (int i = 0; i < count; i++) rows.push_back(workspace.take(size_t(width), channels));
    }
    float* row(int y) const { return rows[size_t(y) % rows.size()]; }

    std::vector<float*> rows;
    int channels, width;
};

/// Row y of a convolution: from the input's rows y, y + 1, ...
void convolveRow(const PackedConv& conv, const RollingRows& in, int y, const RollingRows& out) {
    const float* rows[3];
    for (int i = 0; i < conv.kernelHeight(); i++) rows[i] = in.row(y + i);
    for (int group = 0; group < conv.groups(); group++) {
        kernels::convolve(conv, group,
                          {rows, in.channels, out.width, out.row(y) + group * PackedConv::kGroup, out.channels});
    }
}

} // namespace

PNet::PNet(const Safetensors& weights)
    : conv1(mtcnn::convolution(weights, "pnet", "1", 3, 10, 3)),
      conv2(mtcnn::convolution(weights, "pnet", "2", 10, 16, 3)),
      conv3(mtcnn::convolution(weights, "pnet", "3", 16, 32, 3)),
      conv4(mtcnn::heads(weights, "pnet.conv4", 32, true, false)) {}

Candidate PNet::candidate(int x, int y, double scale, float score, const Offsets& offsets) {
    const auto edge = [&](int position) { return std::floor(float(position) / float(scale)); };
    return {{edge(kStride * x + 1), edge(kStride * y + 1), edge(kStride * x + kCell), edge(kStride * y + kCell), score}, offsets};
}

std::vector<Candidate> PNet::scan(const AreaResampler& level, int begin, int end, double scale, double threshold,
                                  Workspace& workspace) const {
    const int width1 = level.width() - 2, height1 = level.height() - 2, pooledWidth = (width1 + 1) / 2;
    const size_t mark = workspace.mark();
    const RollingRows input(4, level.width(), 3, workspace);
    // The two rows that are pooled together lie one behind the other.
    const ptrdiff_t rowStep1 = ptrdiff_t{width1 + kernels::kBlock} * conv1.channels() + kernels::kSlack;
    float* rows1 = workspace.take(2 * size_t(width1 + kernels::kBlock) + kernels::kSlack, conv1.channels());
    const RollingRows pooled(3, pooledWidth, conv1.channels(), workspace);
    const RollingRows rows2(3, pooledWidth - 2, conv2.channels(), workspace);
    const RollingRows rows3(1, pooledWidth - 4, conv3.channels(), workspace);
    const RollingRows answers(1, pooledWidth - 4, conv4.channels(), workspace);

    // exp() only for those that may pass.
    const float enough = float(std::log(threshold / (1 - threshold))) - 0.01f;
    std::vector<Candidate> found;
    const auto collect = [&](int y) {
        const float* answer = answers.row(0);
        for (int x = 0; x < answers.width; x++, answer += conv4.channels()) {
            if (answer[1] - answer[0] < enough) continue;
            const float score = mtcnn::faceScore(answer);
            if (score < float(threshold)) continue;
            found.push_back(candidate(x, y, scale, score, {answer[2], answer[3], answer[4], answer[5]}));
        }
    };

    int nextInput = 2 * begin;
    for (int y = begin; y < end + 4; y++) { // rows of the pooled layer
        const int pooledRows = std::min(2, height1 - 2 * y);
        for (; nextInput < 2 * y + pooledRows + 2; nextInput++)
            level.row(nextInput, 1 / 128.0f, -127.5f / 128, workspace.sums, input.row(nextInput));
        for (int i = 0; i < pooledRows; i++) {
            const float* rows[3] = {input.row(2 * y + i), input.row(2 * y + i + 1), input.row(2 * y + i + 2)};
            kernels::convolve(conv1, 0, {rows, 3, width1, rows1 + i * rowStep1, conv1.channels()});
        }
        kernels::maxPool({rows1, rowStep1, pooledRows, width1, conv1.channels(), 2, 2, pooled.row(y), pooledWidth});
        if (y < begin + 2) continue;
        convolveRow(conv2, pooled, y - 2, rows2);
        if (y < begin + 4) continue;
        convolveRow(conv3, rows2, y - 4, rows3);
        const float* row3 = rows3.row(0);
        kernels::convolve(conv4, 0, {&row3, conv3.channels(), answers.width, answers.row(0), conv4.channels()});
        collect(y - 4);
    }
    workspace.rewind(mark);
    return found;
}

} // namespace faiss_vision
