#pragma once

#include <cstddef>

#include "ann/byte_kernels.h"

/// What a copy in one byte a number says about a distance: the arithmetic of the search by bounds (ann/bounded_flat.h).
/// docs/exact-search.md derives each formula. A key is what FAISS computes for a vector in fp32, so that smaller is nearer:
/// the squared distance, or the negated inner product.
namespace faiss_vision {

/// The nearest float that is not below, or not above.
float roundedUp(double value);
float roundedDown(double value);

/// The error of a floating-point sum of d products in any order, relative to the sum of their sizes.
double sumError(size_t d);

/// What is known of a vector x that is coded as s * codes.
struct CodeBounds {
    float scale;  ///< s
    float error;  ///< e >= |x - s * codes|, and room for the rounding of what is computed from it; infinite where x cannot be bounded
    float length; ///< n >= |s * codes|
    float half;   ///< h <= |x|^2 / 2
    double norm;  ///< >= |x|

    /// @param reserve  what `error` has to have room for beyond that, relative to |x|
    CodeBounds(const bytes::Coded& coded, size_t d, double reserve);
};

struct CodedQuery {
    bytes::Probe probe;
    double squares; ///< |q|^2

    CodedQuery(const float* x, size_t d, const CodeBounds& bounds);
};

/// The key of a vector is from `lower` to `upper`; both are the key itself once it was computed, and differ before.
struct KeyBounds {
    float lower, upper;
};

class Bounds {
public:
    Bounds(size_t d, bool innerProduct);

    /// What a vector's CodeBounds have to reserve.
    double reserve() const { return innerProduct_ ? sum_ : 0; }
    /// The value (of bytes::Sift) that every vector reaches whose key is at most `key`.
    float reach(const CodedQuery& query, float key) const;
    /// @param value  of the vector with these numbers, as bytes::Sift gave it
    KeyBounds key(const CodedQuery& query, float value, float error, float length, float half) const;

private:
    bool innerProduct_;
    double sum_, tiny_;
};

} // namespace faiss_vision
