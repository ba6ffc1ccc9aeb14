#include "ann/byte_copy.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include <omp.h>
#include <sys/mman.h>

namespace faiss_vision {
namespace {

constexpr size_t kSlabBytes = 2 << 20; // a huge page
constexpr size_t kPartBytes = 256 << 10;
constexpr size_t kNumbers = 4; // floats kept beside a vector's codes
constexpr size_t kManyNumbers = 1 << 17; // worth the start of the other threads

} // namespace

void ByteCopy::Free::operator()(void* memory) const { std::free(memory); }

ByteCopy::ByteCopy(size_t d, bool innerProduct, const bytes::Variant& kernels)
    : d_(d), words_(bytes::words(d)), innerProduct_(innerProduct), reserve_(Bounds(d, innerProduct).reserve()), kernels_(&kernels) {
    const size_t row = words_ * 4 + kNumbers * sizeof(float);
    slabRows_ = std::max<size_t>((kSlabBytes - bytes::kSlack) / row / bytes::kLanes, 1) * bytes::kLanes;
    slabBytes_ = (slabRows_ * row + bytes::kSlack + kSlabBytes - 1) / kSlabBytes * kSlabBytes;
    // At most 32,768: positions within a part are 16-bit numbers.
    partRows_ = std::clamp<size_t>(kPartBytes / (words_ * 4) / bytes::kLanes, 1, 2048) * bytes::kLanes;
    partRows_ = std::min(partRows_, slabRows_);
    scratch_.resize(bytes::kLanes * words_ * 4);
}

size_t ByteCopy::bytes() const {
    return (size_ + bytes::kLanes - 1) / bytes::kLanes * bytes::kLanes * (words_ * 4 + kNumbers * sizeof(float));
}

float* ByteCopy::numbers(uint8_t* slab, size_t kind) const {
    return reinterpret_cast<float*>(slab + slabRows_ * words_ * 4) + kind * slabRows_;
}

void ByteCopy::reserve(size_t n) {
    const size_t wanted = (n + slabRows_ - 1) / slabRows_;
    slabs_.reserve(wanted);
    while (slabs_.size() < wanted) {
        Slab slab(static_cast<uint8_t*>(std::aligned_alloc(kSlabBytes, slabBytes_)));
        if (slab == nullptr) throw std::bad_alloc();
        // The scan goes through all of it: huge pages spare it most of the address translation. A small copy stays small.
        if (!slabs_.empty() || n >= slabRows_) ::madvise(slab.get(), slabBytes_, MADV_HUGEPAGE);
        slabs_.push_back(std::move(slab));
    }
}

void ByteCopy::code(size_t row, const float* x, size_t count, int8_t* scratch) {
    uint8_t* const slab = slabs_[row / slabRows_].get();
    const size_t at = row % slabRows_;
    float* const scale = numbers(slab, 0) + at;
    float* const error = numbers(slab, 1) + at;
    float* const length = numbers(slab, 2) + at;
    float* const half = numbers(slab, 3) + at;
    for (size_t i = 0; i < count; i++) {
        const CodeBounds bounds(kernels_->code(x + i * d_, nullptr, d_, scratch + i * words_ * 4), d_, reserve_);
        scale[i] = bounds.scale;
        error[i] = bounds.error;
        length[i] = bounds.length;
        half[i] = innerProduct_ ? 0 : bounds.half;
    }
    kernels_->interleave(scratch, words_, at % bytes::kLanes, count, slab + at / bytes::kLanes * bytes::kLanes * words_ * 4);
}

void ByteCopy::append(float* x, size_t n, const float* source) {
    if (n == 0) return;
    reserve(size_ + n);
    const size_t begin = size_, end = size_ + n, first = begin / bytes::kLanes, last = (end - 1) / bytes::kLanes;
    const auto codePanel = [&](size_t panel, int8_t* scratch) {
        const size_t from = std::max(begin, panel * bytes::kLanes), to = std::min(end, (panel + 1) * bytes::kLanes);
        float* const rows = x + (from - begin) * d_;
        if (source != nullptr) std::memcpy(rows, source + (from - begin) * d_, (to - from) * d_ * sizeof(float));
        code(from, rows, to - from, scratch);
    };
    const int threads = n * d_ < kManyNumbers ? 1 : omp_get_max_threads();
    if (threads == 1) {
        for (size_t panel = first; panel <= last; panel++) codePanel(panel, scratch_.data());
    } else {
        const size_t each = scratch_.size();
        std::vector<int8_t> scratch(each * size_t(threads));
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16)
        for (int64_t panel = int64_t(first); panel <= int64_t(last); panel++) {
            codePanel(size_t(panel), scratch.data() + each * size_t(omp_get_thread_num()));
        }
    }
    size_ = end;
}

void ByteCopy::set(size_t row, const float* x) { code(row, x, 1, scratch_.data()); }

void ByteCopy::truncate(size_t n) {
    size_ = std::min(size_, n);
    // One slab more may stay, so that adding and removing around its edge does not allocate each time.
    const size_t used = (size_ + slabRows_ - 1) / slabRows_;
    if (slabs_.size() > used + 1) slabs_.resize(used + 1);
    if (size_ == 0) slabs_.clear();
}

size_t ByteCopy::parts() const {
    const size_t perSlab = (slabRows_ + partRows_ - 1) / partRows_;
    const size_t whole = size_ / slabRows_, rest = size_ % slabRows_;
    return whole * perSlab + (rest + partRows_ - 1) / partRows_;
}

ByteCopy::Part ByteCopy::part(size_t number) const {
    const size_t perSlab = (slabRows_ + partRows_ - 1) / partRows_;
    uint8_t* const slab = slabs_[number / perSlab].get();
    const size_t begin = number % perSlab * partRows_, first = number / perSlab * slabRows_ + begin;
    const size_t count = std::min({partRows_, slabRows_ - begin, size_ - first});
    return {first, count, slab + begin * words_ * 4,
            {numbers(slab, 0) + begin, numbers(slab, 1) + begin, numbers(slab, 2) + begin, numbers(slab, 3) + begin}};
}

} // namespace faiss_vision
