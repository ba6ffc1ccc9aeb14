#include "vision/convolution.h"

#include <algorithm>
#include <array>

#include "vision/kernels.h"

namespace faiss_vision {
namespace {

using products::kChannels;
using products::kDepth;
using products::kRows;

constexpr size_t kBlockNumbers = size_t{kRows} * kChannels;  // sums of one block and group
constexpr size_t kLine = 16;                                 // floats of a line of the cache: between what would lie whole pages apart
constexpr size_t kLargeWeights = 1 << 20;                    // bytes: more do not stay in the second-level cache beside the inputs
constexpr size_t kSlab = 32 * kDepth;                        // of large weights, those of so many inputs of a group at a time do
constexpr int kBlocksTogether = 4;                           // blocks that use them then
constexpr int64_t kPiecesPerThread = 3;                      // so that a thread which comes late does not keep the others waiting

} // namespace

/// A layer's results (or squares of them) in the order in which they are computed.
class Convolution::Positions {
public:
    /// @param size  of a square
    Positions(const Convolution& layer, const MapsView& out, int size, int64_t first)
        : ends_{out.count, (out.height + size - 1) / size, (out.width + size - 1) / size} {
        if (layer.skips()) std::swap(order_[2], order_[layer.height_ == 1 ? 0 : 1]);
        for (const size_t axis : order_) {
            at_[axis] = first % ends_[axis];
            first /= ends_[axis];
        }
    }
    void next() {
        for (const size_t axis : order_) {
            if (++at_[axis] < ends_[axis]) return;
            at_[axis] = 0;
        }
    }
    int64_t map() const { return at_[0]; }
    int y() const { return int(at_[1]); }
    int x() const { return int(at_[2]); }

private:
    std::array<int64_t, 3> ends_, at_;        // of the maps, their rows and their columns
    std::array<size_t, 3> order_ = {2, 1, 0}; // the fastest first
};

Convolution::Scratch::Scratch(const products::Variant* variant) : variant_(variant) {
    if (variant_ != nullptr && variant_->enter != nullptr) variant_->enter();
}

Convolution::Scratch::~Scratch() {
    if (variant_ != nullptr && variant_->leave != nullptr) variant_->leave();
}

/// Puts the inputs of `rows` squares of 2 x 2 output positions together, in the first row of each of 16 products, in the second, ...
void Convolution::gatherSquares(const MapsView& in, const MapsView& out, int64_t first, int rows, Scratch& scratch) const {
    const size_t whole = chunks() * kRows * kDepth;
    Positions at(*this, out, 2, first);
    for (int r = 0; r < rows; r++, at.next()) {
        const int inY = at.y() * 2 - geometry_.top, inX = at.x() * 2 - geometry_.left;
        const float* from[16];
        for (int y = 0; y < 4; y++) {
            for (int x = 0; x < 4; x++) {
                const bool inside = inY + y >= 0 && inY + y < in.height && inX + x >= 0 && inX + x < in.width;
                from[4 * y + x] = inside ? in.at(at.map(), inY + y, inX + x) : scratch.zeros_.data();
            }
        }
        if (variant_ == nullptr) kernels::winogradIn({from, inChannels_, scratch.panel_.data() + r * panelStep(), panelSize()});
        else variant_->takeSquare(from, inChannels_, scratch.halves() + r * kDepth, ptrdiff_t(whole + 2 * kLine));
    }
}

/// Puts the inputs of `rows` output positions one after the other, position by position.
void Convolution::gather(const MapsView& in, const MapsView& out, int64_t first, int rows, size_t part, Scratch& scratch) const {
    const size_t whole = chunks() * kRows * kDepth; // numbers of a block's inputs
    uint16_t* const high = variant_ == nullptr ? nullptr : scratch.halves() + part * whole * (split_ ? 2 : 1);
    float* const plain = variant_ == nullptr ? scratch.panel_.data() + part * kRows * size_t(panelStep()) : nullptr;
    // Whole chunks go straight to their places; what straddles chunks is put together first.
    const bool straight = inChannels_ % kDepth == 0;
    const int rowInputs = width_ * inChannels_;
    Positions at(*this, out, 1, first);
    for (int r = 0; r < rows; r++, at.next()) {
        uint16_t* toHigh = high == nullptr ? nullptr : high + r * kDepth;
        float* row = variant_ == nullptr ? plain + r * panelStep() : scratch.row_.data();
        const auto put = [&](const float* from, int count) {
            if (variant_ == nullptr || !straight) {
                if (from == nullptr) std::fill_n(row, count, 0.0f);
                else std::copy_n(from, count, row);
                row += count;
                return;
            }
            if (from != nullptr) {
                variant_->take(from, count, toHigh, split_ ? toHigh + whole : nullptr);
                toHigh += ptrdiff_t{count} * kRows;
            } else {
                for (int i = 0; i < count; i += kDepth, toHigh += kRows * kDepth) {
                    std::fill_n(toHigh, kDepth, uint16_t{0});
                    if (split_) std::fill_n(toHigh + whole, kDepth, uint16_t{0});
                }
            }
        };
        const int inX = at.x() * geometry_.stride - geometry_.left;
        for (int ky = 0; ky < height_; ky++) {
            const int inY = at.y() * geometry_.stride - geometry_.top + ky;
            if (inY < 0 || inY >= in.height) {
                put(nullptr, rowInputs);
            } else if (inX >= 0 && inX + width_ <= in.width && in.step == inChannels_) {
                put(in.at(at.map(), inY, inX), rowInputs);
            } else {
                for (int kx = inX; kx < inX + width_; kx++) put(kx < 0 || kx >= in.width ? nullptr : in.at(at.map(), inY, kx), inChannels_);
            }
        }
        if (variant_ != nullptr && !straight) variant_->take(scratch.row_.data(), int(depth()), toHigh, split_ ? toHigh + whole : nullptr);
    }
}

void Convolution::place(const MapsView& out, const MapsView* add, int64_t first, int rows, Scratch::Places& places) const {
    const int size = winograd() ? 2 : 1;
    Positions at(*this, out, size, first);
    for (int r = 0; r < rows * size * size; r += size * size, at.next()) {
        for (int i = 0; i < size * size; i++) {
            const int y = at.y() * size + i / 2, x = at.x() * size + i % 2;
            const bool inside = y < out.height && x < out.width;
            places.out[size_t(r + i)] = inside ? out.at(at.map(), y, x) : nullptr;
            if (add != nullptr) places.add[size_t(r + i)] = inside ? add->at(at.map(), y, x) : nullptr;
        }
    }
}

/// Where in the gathered inputs of a block those begin and end that are not zero in every row.
Convolution::Range Convolution::used(const MapsView& in, const MapsView& out, int64_t first, int rows) const {
    if (!skips()) return {0, size_t(depth())};
    const bool across = height_ == 1;
    const Positions from(*this, out, 1, first), to(*this, out, 1, first + rows - 1);
    const int length = across ? width_ : height_, zeros = across ? geometry_.left : geometry_.top, size = across ? in.width : in.height;
    const int begin = std::clamp(zeros - (across ? to.x() : to.y()) * geometry_.stride, 0, length);
    const int end = std::clamp(zeros + size - (across ? from.x() : from.y()) * geometry_.stride, begin, length);
    return {size_t(begin) * size_t(inChannels_), size_t(end) * size_t(inChannels_)};
}

/// The products take so long that what finish() writes to has come into the cache when they are done.
void Convolution::expect(const Scratch::Places& places, int rows, int group) const {
    const int channels = std::min(kChannels, channels_ - group * kChannels);
    for (int r = 0; r < (winograd() ? 4 * rows : rows); r++) {
        if (places.out[size_t(r)] == nullptr) continue;
        float* const out = places.out[size_t(r)] + group * kChannels;
        for (int c = 0; c < channels; c += 16) __builtin_prefetch(out + c, 1);
    }
}

void Convolution::finish(const Scratch::Places& places, bool adds, bool activated, int rows, int group, const float* sums) const {
    static const std::vector<float> kOnes(kChannels, 1.0f);
    const ptrdiff_t first = ptrdiff_t{group} * kChannels;
    const int channels = std::min(kChannels, channels_ - group * kChannels);
    const float *const bias = bias_.data() + first, *const slope = activated ? slope_.data() + first : kOnes.data();
    if (!winograd()) {
        return kernels::finish({sums, kChannels, rows, channels, bias, slope, first, places.out.data(), adds ? places.add.data() : nullptr});
    }
    for (int r = 0; r < rows; r++) {
        kernels::winogradOut({sums + r * kChannels, kBlockNumbers + kLine, channels, bias, slope, first, places.out.data() + 4 * r,
                              adds ? places.add.data() + 4 * r : nullptr});
    }
}

void Convolution::run(const MapsView& in, const MapsView& out, const MapsView* add, Steps::Walk& walk, Scratch& scratch,
                      bool activated) const {
    const int64_t size = winograd() ? 2 : 1;
    const int64_t positions = out.count * ((out.height + size - 1) / size) * ((out.width + size - 1) / size), blocks = (positions + kRows - 1) / kRows;
    const int64_t groups = int64_t(bias_.size()) / kChannels, threads = walk.threads();
    const size_t chunk = products::chunkNumbers(split_), groupNumbers = chunks() * chunk;
    const bool large = variant_ != nullptr && !winograd() && size_t(groups) * groupNumbers * sizeof(uint16_t) > kLargeWeights;
    const int64_t together = large ? std::min<int64_t>(blocks, kBlocksTogether) : 1, rounds = (blocks + together - 1) / together;
    // Few positions: the channels are shared out too, and every thread gathers the inputs for itself.
    const int64_t parts = std::clamp<int64_t>((kPiecesPerThread * threads + rounds - 1) / rounds, 1, threads == 1 ? 1 : groups);
    const int64_t groupsPerPart = (groups + parts - 1) / parts;

    const size_t whole = chunks() * kRows * kDepth, products = size_t(products_);
    if (variant_ != nullptr) {
        scratch.reserveHalves(size_t(together) * products * (whole + 2 * kLine) * (split_ ? 2 : 1));
        scratch.row_.resize(std::max(scratch.row_.size(), chunks() * kDepth + kernels::kSlack));
    } else {
        scratch.panel_.resize(std::max(scratch.panel_.size(), products * size_t(panelSize()) + kernels::kBlock * size_t(panelStep()) + kernels::kSlack));
    }
    scratch.zeros_.resize(std::max(scratch.zeros_.size(), size_t(inChannels_) + kernels::kSlack));
    const size_t sumsOf = size_t(groupsPerPart) * kBlockNumbers; // of one block
    scratch.sums_.resize(std::max(scratch.sums_.size(), (large ? size_t(together) * sumsOf : products * (kBlockNumbers + kLine)) + kernels::kSlack));
    scratch.places_.resize(std::max(scratch.places_.size(), size_t(together)));
    scratch.round_ = -1;

    walk.run(rounds * parts, [&](int64_t piece) {
        const int64_t round = piece / parts, firstGroup = piece % parts * groupsPerPart;
        const int64_t endGroup = std::min(groups, firstGroup + groupsPerPart);
        const int64_t firstBlock = round * together, endBlock = std::min(blocks, firstBlock + together);
        const auto rowsOf = [&](int64_t block) { return int(std::min<int64_t>(kRows, positions - block * kRows)); };
        if (firstGroup >= endGroup) return;
        if (scratch.round_ != round) {
            for (int64_t block = firstBlock; block < endBlock; block++) {
                if (winograd()) gatherSquares(in, out, block * kRows, rowsOf(block), scratch);
                else gather(in, out, block * kRows, rowsOf(block), size_t(block - firstBlock), scratch);
                place(out, add, block * kRows, rowsOf(block), scratch.places_[size_t(block - firstBlock)]);
            }
            scratch.round_ = round;
        }
        float* const sums = scratch.sums_.data();
        // Both begin with chunks.
        const auto multiply = [&](const uint16_t* high, int rows, const uint16_t* weights, Range range, bool onto, float* to) {
            high += range.begin * kRows;
            weights += range.begin / kDepth * chunk;
            variant_->multiply({high, split_ ? high + whole : nullptr, rows}, weights, range.end - range.begin, onto, to);
        };
        if (!large) {
            const int rows = rowsOf(firstBlock);
            const Range range = used(in, out, firstBlock * kRows, rows);
            for (int64_t group = firstGroup; group < endGroup; group++) {
                expect(scratch.places_.front(), rows, int(group));
                for (size_t i = 0; i < products; i++) {
                    if (variant_ != nullptr) {
                        const uint16_t* const weights = weights_.get() + (i * size_t(groups) + size_t(group)) * groupNumbers;
                        multiply(scratch.halves() + i * (whole + 2 * kLine), rows, weights, range, false, sums + i * (kBlockNumbers + kLine));
                    } else {
                        const float* const row = scratch.panel_.data() + i * size_t(panelSize());
                        kernels::convolve(packed_[i], int(group), {&row, panelStep(), rows, sums + i * (kBlockNumbers + kLine), kChannels});
                    }
                }
                finish(scratch.places_.front(), add != nullptr, activated, rows, int(group), sums);
            }
            return;
        }
        const size_t last = size_t(depth());
        for (size_t first = 0; first < last; first += kSlab) {
            const Range range = {first, std::min(last, first + kSlab)};
            for (int64_t group = firstGroup; group < endGroup; group++) {
                for (int64_t block = firstBlock; block < endBlock; block++) {
                    float* const to = sums + size_t(block - firstBlock) * sumsOf + size_t(group - firstGroup) * kBlockNumbers;
                    multiply(scratch.halves() + size_t(block - firstBlock) * whole * (split_ ? 2 : 1), rowsOf(block),
                             weights_.get() + size_t(group) * groupNumbers, range, first > 0, to);
                    if (range.end == last) finish(scratch.places_[size_t(block - firstBlock)], add != nullptr, activated, rowsOf(block), int(group), to);
                }
            }
        }
    });
}

} // namespace faiss_vision
