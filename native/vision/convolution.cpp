#include "vision/convolution.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <new>

#include <ATen/Parallel.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "error.h"
#include "vision/kernels.h"

namespace faiss_vision {
namespace {

using products::kChannels;
using products::kDepth;
using products::kRows;

constexpr size_t kBlockNumbers = size_t{kRows} * kChannels;  // sums of one block and group
constexpr size_t kLargeWeights = 1 << 20;                    // bytes: more do not stay in the second-level cache beside the inputs
constexpr size_t kSlabChunks = 32;                           // of large weights, so many chunks of a group at a time do
constexpr int kBlocksTogether = 4;                           // blocks that use them then
constexpr int64_t kPiecesPerThread = 3;                      // so that a thread which comes late does not keep the others waiting

std::vector<float> filled(const at::Tensor& values, size_t count, float otherwise) {
    std::vector<float> result(count, otherwise);
    if (values.defined()) {
        const at::Tensor whole = values.contiguous();
        std::copy_n(whole.data_ptr<float>(), whole.numel(), result.begin());
    }
    return result;
}

} // namespace

void Convolution::Free::operator()(uint16_t* memory) const { std::free(memory); }

Convolution::Affine Convolution::Affine::batchNorm(const at::Tensor& mean, const at::Tensor& variance, const at::Tensor& scale,
                                                   const at::Tensor& offset, double epsilon) {
    at::Tensor factor = variance.to(at::kDouble).add(epsilon).rsqrt();
    if (scale.defined()) factor = factor.mul(scale);
    at::Tensor shift = mean.to(at::kDouble).mul(factor).neg();
    if (offset.defined()) shift = shift.add(offset);
    return {factor.to(at::kFloat), shift.to(at::kFloat)};
}

const products::Variant* Convolution::choose(Precision precision) {
    const auto& variants = products::variants();
    if (precision == Precision::Fp32) return !variants.empty() && variants.front().splits ? &variants.front() : nullptr;
    if (variants.empty()) {
        throw Error("ERR_UNSUPPORTED", "`precision` 'bf16' needs a processor with AVX-512 BF16 or AMX, and this one has neither: leave it at 'fp32'");
    }
    return &variants.front();
}

Convolution::Convolution(const at::Tensor& weight, const at::Tensor& bias, const Affine& affine, const at::Tensor& slope,
                         Geometry geometry, Precision precision, const products::Variant* variant)
    : inChannels_(int(weight.size(1))),
      channels_(int(weight.size(0))),
      height_(int(weight.size(2))),
      width_(int(weight.size(3))),
      geometry_(geometry),
      variant_(variant),
      split_(precision == Precision::Fp32) {
    const size_t padded = size_t(channels_ + kChannels - 1) / kChannels * kChannels;
    bias_ = filled(bias, padded, 0);
    slope_ = filled(slope, padded, 1);
    std::vector<float> scale = filled(affine.scale, padded, 1);
    const std::vector<float> offset = filled(affine.offset, padded, 0);
    for (size_t i = 0; i < padded; i++) bias_[i] = bias_[i] * scale[i] + offset[i];
    if (variant_ == nullptr) {
        const at::Tensor scaled = affine.scale.defined() ? weight.mul(affine.scale.view({channels_, 1, 1, 1})) : weight;
        const at::Tensor rows = scaled.permute({0, 2, 3, 1}).reshape({channels_, depth(), 1, 1});
        packed_.emplace(rows, at::Tensor(), at::Tensor());
    } else {
        pack(weight, scale);
    }
}

/// Pairs of inputs beside one another, in the order in which gather() puts the inputs: kernel row, kernel column, channel.
void Convolution::pack(const at::Tensor& weight, const std::vector<float>& scale) {
    constexpr size_t kPage = 2 << 20;
    const size_t chunk = products::chunkNumbers(split_), groups = bias_.size() / kChannels;
    const size_t bytes = groups * chunks() * chunk * sizeof(uint16_t), alignment = bytes >= kPage ? kPage : 64;
    weights_.reset(static_cast<uint16_t*>(std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)));
    if (weights_ == nullptr) throw std::bad_alloc();
#ifdef __linux__
    if (alignment == kPage) ::madvise(weights_.get(), bytes, MADV_HUGEPAGE);
#endif
    const float* const from = weight.data_ptr<float>();
    const ptrdiff_t outStep = weight.stride(0), inStep = weight.stride(1), yStep = weight.stride(2), xStep = weight.stride(3);
    at::parallel_for(0, int64_t(groups), 1, [&](int64_t begin, int64_t end) {
        for (int64_t group = begin; group < end; group++) {
            uint16_t* const base = weights_.get() + size_t(group) * chunks() * chunk;
            std::fill_n(base, chunks() * chunk, uint16_t{0});
            const int first = int(group) * kChannels, count = std::min(kChannels, channels_ - first);
            int64_t k = 0;
            for (int y = 0; y < height_; y++) {
                for (int x = 0; x < width_; x++) {
                    for (int c = 0; c < inChannels_; c++, k++) {
                        uint16_t* const to = base + size_t(k / kDepth) * chunk + size_t(k % kDepth / 2) * 32 + size_t(k % 2);
                        const float* const some = from + first * outStep + c * inStep + y * yStep + x * xStep;
                        for (int i = 0; i < count; i++) {
                            const float value = some[i * outStep] * scale[size_t(first + i)];
                            const uint16_t high = products::toBf16(value);
                            uint16_t* const place = to + i / 16 * 512 + i % 16 * 2;
                            *place = high;
                            if (split_) place[1024] = products::toBf16(value - products::fromBf16(high));
                        }
                    }
                }
            }
        }
    });
}

Convolution::Scratch::Scratch(const products::Variant* variant) : variant_(variant) {
    if (variant_ != nullptr && variant_->enter != nullptr) variant_->enter();
}

Convolution::Scratch::~Scratch() {
    if (variant_ != nullptr && variant_->leave != nullptr) variant_->leave();
}

/// Puts the inputs of `rows` output positions one after the other, position by position.
void Convolution::gather(const MapsView& in, const MapsView& out, int64_t first, int rows, size_t part, Scratch& scratch) const {
    const size_t whole = chunks() * kRows * kDepth; // numbers of a block's inputs
    uint16_t* const high = variant_ == nullptr ? nullptr : scratch.halves() + part * whole * (split_ ? 2 : 1);
    float* const plain = variant_ == nullptr ? scratch.panel_.data() + part * kRows * size_t(panelStep()) : nullptr;
    // Whole chunks go straight to their places; what straddles chunks is put together first.
    const bool straight = inChannels_ % kDepth == 0;
    const int rowInputs = width_ * inChannels_;
    const int64_t mapPositions = int64_t{out.height} * out.width;
    int64_t map = first / mapPositions;
    int y = int(first % mapPositions / out.width), x = int(first % out.width);
    for (int r = 0; r < rows; r++) {
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
        const int inX = x * geometry_.stride - geometry_.left;
        for (int ky = 0; ky < height_; ky++) {
            const int inY = y * geometry_.stride - geometry_.top + ky;
            if (inY < 0 || inY >= in.height) {
                put(nullptr, rowInputs);
            } else if (inX >= 0 && inX + width_ <= in.width && in.step == inChannels_) {
                put(in.at(map, inY, inX), rowInputs);
            } else {
                for (int kx = inX; kx < inX + width_; kx++) put(kx < 0 || kx >= in.width ? nullptr : in.at(map, inY, kx), inChannels_);
            }
        }
        if (variant_ != nullptr && !straight) variant_->take(scratch.row_.data(), int(depth()), toHigh, split_ ? toHigh + whole : nullptr);
        if (++x == out.width) {
            x = 0;
            if (++y == out.height) {
                y = 0;
                map++;
            }
        }
    }
}

void Convolution::place(const MapsView& out, const MapsView* add, int64_t first, int rows, Scratch::Places& places) {
    const int64_t mapPositions = int64_t{out.height} * out.width;
    int64_t map = first / mapPositions;
    int y = int(first % mapPositions / out.width), x = int(first % out.width);
    for (int r = 0; r < rows; r++) {
        places.out[size_t(r)] = out.at(map, y, x);
        if (add != nullptr) places.add[size_t(r)] = add->at(map, y, x);
        if (++x == out.width) {
            x = 0;
            if (++y == out.height) {
                y = 0;
                map++;
            }
        }
    }
}

/// The products take so long that what finish() writes to has come into the cache when they are done.
void Convolution::expect(const Scratch::Places& places, int rows, int group) const {
    const int channels = std::min(kChannels, channels_ - group * kChannels);
    for (int r = 0; r < rows; r++) {
        float* const out = places.out[size_t(r)] + group * kChannels;
        for (int c = 0; c < channels; c += 16) __builtin_prefetch(out + c, 1);
    }
}

void Convolution::finish(const Scratch::Places& places, bool adds, bool activated, int rows, int group, const float* sums) const {
    static const std::vector<float> kOnes(kChannels, 1.0f);
    const ptrdiff_t first = ptrdiff_t{group} * kChannels;
    kernels::finish({sums, kChannels, rows, std::min(kChannels, channels_ - group * kChannels), bias_.data() + first,
                     activated ? slope_.data() + first : kOnes.data(), first, places.out.data(), adds ? places.add.data() : nullptr});
}

void Convolution::run(const MapsView& in, const MapsView& out, const MapsView* add, Steps::Walk& walk, Scratch& scratch,
                      bool activated) const {
    const int64_t positions = out.count * out.height * out.width, blocks = (positions + kRows - 1) / kRows;
    const int64_t groups = int64_t(bias_.size()) / kChannels, threads = walk.threads();
    const size_t chunk = products::chunkNumbers(split_), groupNumbers = chunks() * chunk;
    const bool large = variant_ != nullptr && size_t(groups) * groupNumbers * sizeof(uint16_t) > kLargeWeights;
    const int64_t together = large ? std::min<int64_t>(blocks, kBlocksTogether) : 1, rounds = (blocks + together - 1) / together;
    // Few positions: the channels are shared out too, and every thread gathers the inputs for itself.
    const int64_t parts = std::clamp<int64_t>((kPiecesPerThread * threads + rounds - 1) / rounds, 1, threads == 1 ? 1 : groups);
    const int64_t groupsPerPart = (groups + parts - 1) / parts;

    const size_t whole = chunks() * kRows * kDepth;
    if (variant_ != nullptr) {
        scratch.reserveHalves(size_t(together) * whole * (split_ ? 2 : 1));
        scratch.row_.resize(std::max(scratch.row_.size(), chunks() * kDepth));
    } else {
        scratch.panel_.resize(std::max(scratch.panel_.size(), (kRows + kernels::kBlock) * size_t(panelStep()) + kernels::kSlack));
    }
    const size_t sumsOf = size_t(groupsPerPart) * kBlockNumbers; // of one block
    scratch.sums_.resize(std::max(scratch.sums_.size(), (large ? size_t(together) * sumsOf : kBlockNumbers) + kernels::kSlack));
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
                gather(in, out, block * kRows, rowsOf(block), size_t(block - firstBlock), scratch);
                place(out, add, block * kRows, rowsOf(block), scratch.places_[size_t(block - firstBlock)]);
            }
            scratch.round_ = round;
        }
        float* const sums = scratch.sums_.data();
        if (variant_ == nullptr) {
            const float* const row = scratch.panel_.data();
            for (int64_t group = firstGroup; group < endGroup; group++) {
                expect(scratch.places_.front(), rowsOf(firstBlock), int(group));
                kernels::convolve(*packed_, int(group), {&row, panelStep(), rowsOf(firstBlock), sums, kChannels, false});
                finish(scratch.places_.front(), add != nullptr, activated, rowsOf(firstBlock), int(group), sums);
            }
            return;
        }
        const auto multiply = [&](int64_t block, int64_t group, size_t firstChunk, size_t count, float* to) {
            const uint16_t* const high = scratch.halves() + size_t(block - firstBlock) * whole * (split_ ? 2 : 1) + firstChunk * kRows * kDepth;
            variant_->multiply({high, split_ ? high + whole : nullptr, rowsOf(block)},
                               weights_.get() + size_t(group) * groupNumbers + firstChunk * chunk, count, firstChunk > 0, to);
        };
        if (!large) {
            for (int64_t group = firstGroup; group < endGroup; group++) {
                expect(scratch.places_.front(), rowsOf(firstBlock), int(group));
                multiply(firstBlock, group, 0, chunks(), sums);
                finish(scratch.places_.front(), add != nullptr, activated, rowsOf(firstBlock), int(group), sums);
            }
            return;
        }
        for (size_t first = 0; first < chunks(); first += kSlabChunks) {
            const size_t count = std::min(kSlabChunks, chunks() - first);
            for (int64_t group = firstGroup; group < endGroup; group++) {
                for (int64_t block = firstBlock; block < endBlock; block++) {
                    float* const to = sums + size_t(block - firstBlock) * sumsOf + size_t(group - firstGroup) * kBlockNumbers;
                    multiply(block, group, first, count, to);
                    if (first + count == chunks()) finish(scratch.places_[size_t(block - firstBlock)], add != nullptr, activated, rowsOf(block), int(group), to);
                }
            }
        }
    });
}

} // namespace faiss_vision
