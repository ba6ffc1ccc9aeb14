#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "ann/byte_bounds.h"
#include "ann/byte_kernels.h"

namespace faiss_vision {

/// Vectors in one byte a number, in the layout of ann/byte_kernels.h, with what bounds the loss.
class ByteCopy {
public:
    /// @param innerProduct  whether inner products are to be bounded, or distances
    ByteCopy(size_t d, bool innerProduct, const bytes::Variant& kernels);

    size_t size() const { return size_; }
    size_t bytes() const;
    const bytes::Variant& kernels() const { return *kernels_; }

    /// Codes n more vectors, on all threads where there are many.
    void append(const float* x, size_t n) { append(const_cast<float*>(x), n, nullptr); }
    /// Copies them from `source` to x first, each while it is at hand. What is coded is what then stands in x.
    void append(float* x, size_t n, const float* source);
    void set(size_t row, const float* x);
    /// Forgets the vectors from row n on.
    void truncate(size_t n);

    /// Vectors [first, first + count) that lie one after the other: a whole number of panels, but for the last.
    struct Part {
        size_t first, count;
        const uint8_t* codes;
        bytes::Scales scales;
    };
    /// How many parts there are, and the one of that number: some 256 KiB each, so that threads can share them out.
    size_t parts() const;
    Part part(size_t number) const;

private:
    struct Free {
        void operator()(void* memory) const;
    };
    using Slab = std::unique_ptr<uint8_t, Free>;

    void reserve(size_t n);
    float* numbers(uint8_t* slab, size_t kind) const; // 0: scale, 1: error, 2: length, 3: half
    void code(size_t row, const float* x, size_t count, int8_t* scratch);

    size_t d_, words_;
    bool innerProduct_;
    double reserve_;
    const bytes::Variant* kernels_;
    size_t slabRows_, slabBytes_, partRows_;
    std::vector<Slab> slabs_; // codes of slabRows_ vectors, then their scales, errors, lengths and halves
    size_t size_ = 0;
    std::vector<int8_t> scratch_;
};

} // namespace faiss_vision
